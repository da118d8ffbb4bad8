// Netproxy's own sockets: marked, so that the namespace's routes let them out by the uplink; and pairs, for
// connections inside of connections. `helper`: in whose namespace they are made (make.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace netproxy::socket {

struct Options {
  uint32_t mark;             // SO_MARK; 0: none
  uint32_t user_timeout_ms;  // TCP_USER_TIMEOUT (RFC 5482); 0: the kernel's default
  int helper;
};

// Starts a connect and returns the socket, which becomes writable, or fails, later. Throws
// std::system_error for what fails at once.
int connect_tcp(const std::string& address, uint16_t port, const Options& options);

// A UDP socket of AF_INET or AF_INET6, bound and connected to nothing. Throws std::system_error.
int open_udp(int family, uint32_t mark, int helper);

// A socket of SOCK_STREAM or SOCK_DGRAM that is bound, and does not listen yet. Throws std::system_error.
int bind_to(const std::string& address, uint16_t port, int type, int helper);

// Two ends of one local connection, SOCK_STREAM or SOCK_SEQPACKET, neither blocking. Throws
// std::system_error.
std::array<int, 2> pair(int type);

}  // namespace netproxy::socket
