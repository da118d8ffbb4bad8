// Netproxy's own sockets: marked, so that the namespace's routes let them out by the uplink.
#pragma once

#include <cstdint>
#include <string>

namespace netproxy::socket {

struct Options {
  uint32_t mark;             // SO_MARK; 0: none
  uint32_t user_timeout_ms;  // TCP_USER_TIMEOUT (RFC 5482); 0: the kernel's default
};

// Starts a connect and returns the socket, which becomes writable, or fails, later. Throws
// std::system_error for what fails at once.
int connect_tcp(const std::string& address, uint16_t port, const Options& options);

}  // namespace netproxy::socket
