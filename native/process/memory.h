// Memory that only the start needed.
#pragma once

#include <cstddef>

namespace netproxy::process {

// Unmaps the pages of programs and libraries that the start has read, and gives freed heap back to the
// kernel. Code that runs again is mapped again from the page cache, without reading a file (MADV_DONTNEED of
// a private file mapping, madvise(2)). Mappings with pages of their own (breakpoints, relocated code) stay as
// they are. Returns the bytes of the mappings; 0 where /proc/self/smaps cannot be read.
size_t release_start_memory();

}  // namespace netproxy::process
