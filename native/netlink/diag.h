// Whose a socket is, as the kernel tells by sock_diag(7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace netproxy::netlink {

struct SocketTuple {
  uint8_t protocol;  // IPPROTO_TCP or IPPROTO_UDP
  std::string source;
  uint16_t source_port;
  std::string destination;
  uint16_t destination_port;
};

struct SocketOwner {
  uint32_t uid;
  uint32_t inode;
  uint64_t cgroup;  // 0 where the kernel does not tell
};

// The socket of this network namespace that sends from `source` to `destination`; empty when there is none.
// `device` is the name of the one it may be bound to, `helper` whose namespace it is (socket/make.h). Throws
// std::system_error when the kernel has no sock_diag, or the addresses are none, or of two families.
std::optional<SocketOwner> socket_owner(const SocketTuple& tuple, const std::string& device, int helper);

}  // namespace netproxy::netlink
