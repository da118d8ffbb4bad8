#include "process/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

namespace netproxy::process {

namespace {

struct CloseFile {
  void operator()(FILE* file) const { fclose(file); }
};

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool code = false;  // of a file, and executable
};

// proc_pid_maps(5): begin-end perms offset device inode path. A file's path is absolute.
bool parse_mapping(const char* line, Mapping& mapping) {
  char perms[5];
  int path = 0;
  const int found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &mapping.begin, &mapping.end,
                           perms, &path);
  if (found != 3) return false;
  mapping.code = std::strcmp(perms, "r-xp") == 0 && path > 0 && line[path] == '/';
  return true;
}

}  // namespace

size_t release_start_memory() {
  malloc_trim(0);
  const std::unique_ptr<FILE, CloseFile> file(fopen("/proc/self/smaps", "re"));
  if (file == nullptr) return 0;
  size_t released = 0;
  Mapping mapping;
  char line[512];
  while (fgets(line, sizeof line, file.get()) != nullptr) {
    Mapping next;
    size_t kib;
    if (parse_mapping(line, next)) {
      mapping = next;
    } else if (mapping.code && sscanf(line, "Anonymous: %zu kB", &kib) == 1) {
      const size_t size = mapping.end - mapping.begin;
      if (kib == 0 && madvise(reinterpret_cast<void*>(mapping.begin), size, MADV_DONTNEED) == 0)
        released += size;
      mapping.code = false;
    }
  }
  return released;
}

}  // namespace netproxy::process
