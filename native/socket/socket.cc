#include "socket/socket.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "socket/make.h"

namespace netproxy::socket {

namespace {

[[noreturn]] void fail(int fd, const char* what) {
  const int error = errno;
  if (fd >= 0) close(fd);
  throw std::system_error(error, std::generic_category(), what);
}

void set(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof value) < 0) fail(fd, what);
}

socklen_t parse(const std::string& address, uint16_t port, sockaddr_storage& out) {
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&out);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return sizeof *v4;
  }
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&out);
  if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof *v6;
  }
  errno = EINVAL;
  fail(-1, "address");
}

bool is_ipv4(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET;
}

// Any port that no other socket has. To be had before anybody sets SO_REUSEADDR, as Node does with each
// socket it is given: the kernel then lets two of them have one port, and all answers go to the later.
void bind_anywhere(int fd, int family) {
  sockaddr_in6 any{};
  any.sin6_family = static_cast<sa_family_t>(family);
  const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof any;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&any), size) < 0) fail(fd, "bind");
}

int level_of(bool four) { return four ? int{IPPROTO_IP} : int{IPPROTO_IPV6}; }

// A sock_extended_err and the address of who reported it (ip(7), IP_RECVERR).
constexpr size_t kErrorControlBytes = CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in6));

// Of a message of the queue of errors; 0 when it is no matter of size.
uint32_t mtu_in(const msghdr& message) {
  for (const cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(each))) {
    const bool four = each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_RECVERR;
    const bool six = each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_RECVERR;
    sock_extended_err error;
    if ((!four && !six) || each->cmsg_len < CMSG_LEN(sizeof error)) continue;
    std::memcpy(&error, CMSG_DATA(each), sizeof error);
    if (error.ee_errno == EMSGSIZE) return error.ee_info;
  }
  return 0;
}

}  // namespace

int connect_tcp(const std::string& address, uint16_t port, const Options& options) {
  sockaddr_storage to{};
  const socklen_t size = parse(address, port, to);
  const int fd = make({to.ss_family, SOCK_STREAM, IPPROTO_TCP, options.mark}, options.helper);
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  if (options.user_timeout_ms != 0) {
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(options.user_timeout_ms), "TCP_USER_TIMEOUT");
  }
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), size) < 0 && errno != EINPROGRESS)
    fail(fd, "connect");
  return fd;
}

int open_udp(int family, uint32_t mark, int helper) {
  const int fd = make({family, SOCK_DGRAM, IPPROTO_UDP, mark}, helper);
  bind_anywhere(fd, family);
  return fd;
}

int open_datagram(int family, bool pings, uint32_t mark, int helper) {
  const int icmp = family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  const int fd = make({family, SOCK_DGRAM, pings ? icmp : int{IPPROTO_UDP}, mark}, helper);
  if (family == AF_INET)
    set(fd, IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR");
  else
    set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1, "IPV6_RECVERR");
  if (!pings) bind_anywhere(fd, family);
  return fd;
}

void keep_whole(int fd, bool whole) {
  const int value = whole ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT;
  static_assert(IP_PMTUDISC_DO == IPV6_PMTUDISC_DO && IP_PMTUDISC_DONT == IPV6_PMTUDISC_DONT);
  const bool four = is_ipv4(fd);
  if (setsockopt(fd, level_of(four), four ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &value, sizeof value) < 0)
    // The caller keeps the socket.
    fail(-1, "MTU_DISCOVER");
}

uint32_t drain_errors(int fd) {
  uint32_t named = 0;
  for (;;) {
    uint8_t byte;
    iovec into{&byte, sizeof byte};
    alignas(cmsghdr) uint8_t control[kErrorControlBytes];
    msghdr message{};
    message.msg_iov = &into;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    // Each call takes one out, and the kernel bounds how many wait by the receive buffer.
    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (const uint32_t mtu = mtu_in(message); mtu != 0) named = mtu;
  }
  if (named != 0) return named;
  const bool four = is_ipv4(fd);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const int told = getsockopt(fd, level_of(four), four ? IP_MTU : IPV6_MTU, &mtu, &size);
  return told < 0 || mtu < 0 ? 0 : static_cast<uint32_t>(mtu);
}

int bind_to(const std::string& address, uint16_t port, int type, int helper) {
  sockaddr_storage to{};
  const socklen_t size = parse(address, port, to);
  const int fd = make({to.ss_family, type, 0, 0}, helper);
  // A successor may listen while connections of its predecessor end.
  if (type == SOCK_STREAM) set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (bind(fd, reinterpret_cast<const sockaddr*>(&to), size) < 0) fail(fd, "bind");
  return fd;
}

std::array<int, 2> pair(int type) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) < 0) fail(-1, "socketpair");
  return ends;
}

}  // namespace netproxy::socket
