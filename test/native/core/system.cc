// What asks the kernel about sockets and processes, and what gives rights up, on real sockets in a network
// namespace of its own (`unshare -n`), under sanitizers. What cannot be undone happens in processes of its
// own.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "netlink/diag.h"
#include "process/filter.h"
#include "process/holder.h"
#include "process/privileges.h"
#include "socket/make.h"
#include "socket/socket.h"

using namespace netproxy;

namespace {

#define EXPECT(condition)                                                                            \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      std::fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      std::_Exit(1);                                                                                 \
    }                                                                                                \
  } while (false)

constexpr int kLoopbackMtu = 1500;
constexpr uint32_t kEverywhere = 1u << 20;

void bring_loopback_up() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_mtu = kLoopbackMtu;
  EXPECT(ioctl(fd, SIOCSIFMTU, &request) == 0);
  request.ifr_flags = IFF_UP | IFF_LOOPBACK;
  EXPECT(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
  close(fd);
}

struct Address {
  int family;
  std::string text;
  sockaddr_storage storage{};
  socklen_t size = 0;

  explicit Address(int family_, uint16_t port = 0)
      : family(family_), text(family_ == AF_INET ? "127.0.0.1" : "::1") {
    storage.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
      auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
      v4.sin_port = htons(port);
      inet_pton(AF_INET, text.c_str(), &v4.sin_addr);
      size = sizeof v4;
    } else {
      auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
      v6.sin6_port = htons(port);
      inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr);
      size = sizeof v6;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

uint16_t port_of(int fd) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  EXPECT(getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0);
  // At the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in&>(own).sin_port);
}

uint32_t inode_of(int fd) {
  struct stat status {};
  EXPECT(fstat(fd, &status) == 0);
  return static_cast<uint32_t>(status.st_ino);
}

std::optional<netlink::SocketOwner> owner(uint8_t protocol, const Address& address, uint16_t from,
                                          uint16_t to) {
  return netlink::socket_owner({protocol, address.text, from, address.text, to}, "lo", socket::kOwn);
}

int error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

void owners(int family) {
  const Address any(family);
  const int listener = ::socket(family, SOCK_STREAM, 0);
  EXPECT(bind(listener, any.get(), any.size) == 0 && listen(listener, 8) == 0);
  const uint16_t port = port_of(listener);
  const Address there(family, port);
  const int client = ::socket(family, SOCK_STREAM, 0);
  EXPECT(connect(client, there.get(), there.size) == 0);
  const auto found = owner(IPPROTO_TCP, any, port_of(client), port);
  EXPECT(found && found->uid == getuid() && found->inode == inode_of(client));
  // A listener has opened nothing; and nobody has what nobody has.
  EXPECT(!owner(IPPROTO_TCP, any, port, 1));
  EXPECT(!owner(IPPROTO_TCP, any, 1, 1));

  const int udp = ::socket(family, SOCK_DGRAM, 0);
  EXPECT(bind(udp, any.get(), any.size) == 0);
  const auto unconnected = owner(IPPROTO_UDP, any, port_of(udp), 9);
  EXPECT(unconnected && unconnected->inode == inode_of(udp));
  EXPECT(!owner(IPPROTO_UDP, any, 1, 1));

  EXPECT(error_of([&] {
           netlink::socket_owner({IPPROTO_TCP, "127.0.0.1", 1, "::1", 1}, "lo", socket::kOwn);
         }) == EINVAL);
  for (const std::string& text : {std::string(), std::string("x"), std::string(5000, '1')}) {
    EXPECT(error_of([&] {
             netlink::socket_owner({IPPROTO_TCP, text, 1, text, 1}, "", socket::kOwn);
           }) == EINVAL);
  }

  const auto self = static_cast<uint32_t>(getpid());
  EXPECT(process::socket_holder(inode_of(client), {}, kEverywhere).found == getpid());
  const auto first = process::socket_holder(inode_of(client), {UINT32_MAX, 0, self}, kEverywhere);
  EXPECT(first.found == getpid() && first.looked < 100);
  EXPECT(process::socket_holder(inode_of(client), {self}, 0).found == 0);
  EXPECT(process::socket_holder(UINT32_MAX, {}, kEverywhere).found == 0);
  for (const int fd : {listener, client, udp}) close(fd);
}

short ready(int fd) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  EXPECT(poll(&one, 1, 2000) >= 0);
  return one.revents;
}

void errors(int family) {
  const Address any(family);
  const int peer = ::socket(family, SOCK_DGRAM, 0);
  EXPECT(bind(peer, any.get(), any.size) == 0);
  const Address there(family, port_of(peer));
  const int fd = socket::open_datagram(family, false, 0, socket::kOwn);
  EXPECT(socket::drain_errors(fd) == 0);  // connected to nothing
  EXPECT(connect(fd, there.get(), there.size) == 0);
  EXPECT(socket::drain_errors(fd) == kLoopbackMtu);
  const std::vector<char> large(3000, 'x');
  socket::keep_whole(fd, true);
  for (int round = 0; round < 3; ++round)
    EXPECT(send(fd, large.data(), large.size(), 0) < 0 && errno == EMSGSIZE);
  EXPECT(socket::drain_errors(fd) == kLoopbackMtu);
  socket::keep_whole(fd, false);
  EXPECT(send(fd, large.data(), large.size(), 0) == static_cast<ssize_t>(large.size()));
  close(peer);
  // The port is refused from now on. The first error may be told by a send.
  char byte = 0;
  for (int round = 0; round < 20; ++round) (void)!send(fd, &byte, 1, 0);
  EXPECT((ready(fd) & POLLERR) != 0);
  socket::drain_errors(fd);
  while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED) {
  }
  socket::drain_errors(fd);
  pollfd rest{.fd = fd, .events = POLLIN, .revents = 0};
  EXPECT(poll(&rest, 1, 0) == 0);
  close(fd);
  EXPECT(socket::drain_errors(-1) == 0);
  EXPECT(error_of([] { socket::keep_whole(-1, true); }) == EBADF);
}

void ping(int family) {
  EXPECT(error_of([&] { close(socket::open_datagram(family, true, 0, socket::kOwn)); }) == EACCES);
  FILE* const range = std::fopen("/proc/sys/net/ipv4/ping_group_range", "w");
  EXPECT(range != nullptr && std::fputs("0 2147483647", range) >= 0 && std::fclose(range) == 0);
  const int fd = socket::open_datagram(family, true, 0, socket::kOwn);
  const Address there(family, 1);
  EXPECT(connect(fd, there.get(), there.size) == 0);
  const uint8_t request[] = {static_cast<uint8_t>(family == AF_INET ? 8 : 128), 0, 0, 0, 0, 0, 0, 7, 'x'};
  EXPECT(send(fd, request, sizeof request, 0) == sizeof request);
  EXPECT((ready(fd) & POLLIN) != 0);
  uint8_t reply[64];
  EXPECT(recv(fd, reply, sizeof reply, 0) == sizeof request);
  EXPECT(reply[0] == (family == AF_INET ? 0 : 129) && reply[7] == 7 && reply[8] == 'x');
  close(fd);
  FILE* const back = std::fopen("/proc/sys/net/ipv4/ping_group_range", "w");
  EXPECT(back != nullptr && std::fputs("1 0", back) >= 0 && std::fclose(back) == 0);
}

// In a process of its own, which ends without the sanitizer's last looks: those want rights that are gone.
void alone(const std::function<void()>& act) {
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    act();
    std::_Exit(0);
  }
  int status = 0;
  EXPECT(waitpid(pid, &status, 0) == pid);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

bool refused(long result) { return result < 0 && errno == EPERM; }

void filtered() {
  EXPECT(process::filter_system_calls() > 40);
  EXPECT(refused(syscall(SYS_ptrace, 0, 0, 0, 0)));
  EXPECT(refused(syscall(SYS_unshare, 0)));
  EXPECT(refused(::socket(AF_PACKET, SOCK_RAW, 0)));
  // A filter may stand on another.
  EXPECT(process::filter_system_calls() > 40);
  std::thread([] { EXPECT(refused(syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr))); }).join();
  const int fd = ::socket(AF_INET6, SOCK_DGRAM, 0);
  EXPECT(fd >= 0);
  close(fd);
}

constexpr uint32_t kNetAdmin = 12;
constexpr uint32_t kNobody = 65534;

void reduced() {
  const process::Identity identity{.uid = kNobody, .gid = kNobody, .groups = {kNobody, 7}};
  // Numbers that no kernel knows are nobody's.
  process::reduce_privileges({kNetAdmin, 63, 64, 1000, UINT32_MAX}, &identity);
  EXPECT(getuid() == kNobody && geteuid() == kNobody && getgid() == kNobody && getgroups(0, nullptr) == 2);
  EXPECT(refused(setuid(0)));
  // A mark wants CAP_NET_ADMIN, a raw socket CAP_NET_RAW.
  close(socket::open_datagram(AF_INET, false, 0x6e70, socket::kOwn));
  EXPECT(refused(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
  EXPECT(error_of([&] { process::reduce_privileges({}, &identity); }) == EPERM);
  process::reduce_privileges({}, nullptr);
  EXPECT(error_of([] { close(socket::open_datagram(AF_INET, false, 0x6e70, socket::kOwn)); }) == EPERM);
}

}  // namespace

int main() {
  bring_loopback_up();
  for (const int family : {AF_INET, AF_INET6}) {
    owners(family);
    errors(family);
    ping(family);
  }
  alone(filtered);
  alone(reduced);
  alone([] {
    reduced();
    filtered();
  });
  std::puts("good");
  return 0;
}
