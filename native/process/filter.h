// A filter of system calls (seccomp(2)): what neither netproxy nor the commands it starts ever need, and
// what whoever took it over would try next, fails with EPERM.
#pragma once

#include <cstddef>

namespace netproxy::process {

// Puts the filter on all threads, for good, and on everything they start; sets no_new_privs. Returns how
// many system calls are refused. Throws std::system_error where the kernel has no filters.
size_t filter_system_calls();

}  // namespace netproxy::process
