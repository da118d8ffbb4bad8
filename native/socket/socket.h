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

// A UDP socket of AF_INET or AF_INET6 with a port of its own, connected to nothing. Throws std::system_error.
int open_udp(int family, uint32_t mark, int helper);

// The same, or a socket for pings (icmp(7)), that is told of every ICMP error (IP_RECVERR): after each,
// `drain_errors` is due. Throws std::system_error, EACCES where net.ipv4.ping_group_range forbids pings.
int open_datagram(int family, bool pings, uint32_t mark, int helper);

// Whether datagrams are to stay whole: one that is larger than the path takes is then refused (EMSGSIZE) and
// otherwise cut. Throws std::system_error.
void keep_whole(int fd, bool whole);

// Takes what waits in the socket's queue of errors, which would wake its owner for ever. Returns the MTU that
// the latest of them names, or else that of the path to where the socket is connected, in bytes; 0 when it is
// not known. Never throws.
uint32_t drain_errors(int fd);

// A socket of SOCK_STREAM or SOCK_DGRAM that is bound, and does not listen yet. Throws std::system_error.
int bind_to(const std::string& address, uint16_t port, int type, int helper);

// Two ends of one local connection, SOCK_STREAM or SOCK_SEQPACKET, neither blocking. Throws
// std::system_error.
std::array<int, 2> pair(int type);

}  // namespace netproxy::socket
