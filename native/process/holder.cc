#include "process/holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace netproxy::process {

namespace {

struct Close {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, Close>;

// What readlink(2) gives for a descriptor of a socket (proc_pid_fd(5)).
struct Link {
  char text[32];
  size_t length;
};

bool holds(pid_t pid, const Link& wanted, uint32_t limit, Search& search) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/fd", pid);
  const Directory descriptors(opendir(path));
  if (descriptors == nullptr) {
    if (errno == EACCES) search.forbidden = true;
    return false;
  }
  const int directory = dirfd(descriptors.get());
  while (const dirent* entry = readdir(descriptors.get())) {
    if (entry->d_name[0] == '.') continue;
    if (search.looked++ >= limit) return false;
    char target[sizeof wanted.text];
    const ssize_t length = readlinkat(directory, entry->d_name, target, sizeof target);
    if (length < 0 && errno == EACCES) search.forbidden = true;
    if (length == static_cast<ssize_t>(wanted.length) &&
        std::memcmp(target, wanted.text, wanted.length) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Search socket_holder(uint32_t inode, const std::vector<uint32_t>& first, uint32_t limit) {
  Search search;
  Link wanted{};
  wanted.length = static_cast<size_t>(std::snprintf(wanted.text, sizeof wanted.text, "socket:[%u]", inode));
  for (const uint32_t pid : first) {
    if (holds(static_cast<pid_t>(pid), wanted, limit, search)) {
      search.found = static_cast<pid_t>(pid);
      return search;
    }
  }
  const Directory processes(opendir("/proc"));
  if (processes == nullptr) return search;
  while (const dirent* entry = readdir(processes.get())) {
    const long pid = std::strtol(entry->d_name, nullptr, 10);
    if (pid <= 0) continue;
    if (holds(static_cast<pid_t>(pid), wanted, limit, search)) {
      search.found = static_cast<pid_t>(pid);
      return search;
    }
    if (search.looked >= limit) return search;
  }
  return search;
}

}  // namespace netproxy::process
