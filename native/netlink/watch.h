// Tells that the network namespace has changed: what has changed is for the caller to read, so no byte of
// a message is looked at. rtnetlink(7), netlink(7).
#pragma once

namespace netproxy::netlink {

// Non-blocking sockets, joined to the groups of links, addresses, routes and rules, and of nftables. The
// second is -1 where the kernel has no nf_tables. `helper`: whose namespace (socket/make.h). Throws
// std::system_error.
struct Sockets {
  int routes = -1;
  int filter = -1;
};
Sockets open_watch(int helper);

// Reads and drops everything that waits. True when there was something, also when the kernel had to drop
// messages: then there was more than fits.
bool drain(int fd);

}  // namespace netproxy::netlink
