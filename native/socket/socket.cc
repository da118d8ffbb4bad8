#include "socket/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
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
  return make({family, SOCK_DGRAM, IPPROTO_UDP, mark}, helper);
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
