// Gives up what the process does not need any more (capabilities(7)).
#pragma once

#include <cstdint>
#include <vector>

namespace netproxy::process {

struct Identity {
  uint32_t uid;
  uint32_t gid;
  std::vector<uint32_t> groups;  // supplementary
};

// Leaves the calling thread, and what it starts, those of `capabilities` that it has, and no others:
// permitted, effective, inheritable and ambient, and where CAP_SETPCAP allows the bounding set too. With an
// identity, not of uid 0, the whole process becomes that user, and its other threads keep no capability at
// all. Nothing can be gained again, by exec neither (no_new_privs). Throws std::system_error, having changed
// no identity.
void reduce_privileges(const std::vector<uint32_t>& capabilities, const Identity* identity);

}  // namespace netproxy::process
