// Which process holds a socket, as /proc tells of those that are visible.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace netproxy::process {

struct Search {
  pid_t found = 0;         // 0: none, or none before the limit
  uint32_t looked = 0;     // descriptors looked at
  bool forbidden = false;  // descriptors of some process could not be seen
};

// Looks for a descriptor of the socket with this inode, in the processes of `first` before all others. Looks
// at no more than `limit` descriptors.
Search socket_holder(uint32_t inode, const std::vector<uint32_t>& first, uint32_t limit);

}  // namespace netproxy::process
