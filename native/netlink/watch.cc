#include "netlink/watch.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <system_error>

#include "socket/make.h"

namespace netproxy::netlink {

namespace {

// -1 with errno set when the kernel has no such family or group.
int join(int helper, int protocol, std::initializer_list<int> groups) {
  int fd = -1;
  try {
    fd = socket::make({AF_NETLINK, SOCK_RAW, protocol, 0}, helper);
  } catch (const std::system_error& error) {
    errno = error.code().value();
    return -1;
  }
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  bool good = bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
  for (const int group : groups) {
    good = good && setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
  }
  if (good) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

Sockets open_watch(int helper) {
  Sockets sockets;
  sockets.routes = join(helper, NETLINK_ROUTE,
                        {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                         RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE});
  if (sockets.routes < 0) throw std::system_error(errno, std::generic_category(), "netlink");
  sockets.filter = join(helper, NETLINK_NETFILTER, {NFNLGRP_NFTABLES});
  return sockets;
}

bool drain(int fd) {
  // Bytes. A longer message is cut short, which does not matter here.
  char scratch[4096];
  bool any = false;
  for (;;) {
    const ssize_t got = recv(fd, scratch, sizeof scratch, 0);
    if (got > 0 || (got < 0 && errno == ENOBUFS))
      any = true;
    else if (got < 0 && errno == EINTR)
      continue;
    else
      return any;
  }
}

}  // namespace netproxy::netlink
