#include "netlink/diag.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "socket/make.h"

namespace netproxy::netlink {

namespace {

// linux/inet_diag.h of kernels before 5.7 does not have it.
constexpr uint16_t kCgroupId = 21;

// Bytes. An answer about one socket has about 200.
constexpr size_t kAnswerBytes = 4096;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

int make(int helper) { return socket::make({AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, 0}, helper); }

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

int parse(const std::string& text, void* out) {
  if (inet_pton(AF_INET, text.c_str(), out) == 1) return AF_INET;
  if (inet_pton(AF_INET6, text.c_str(), out) == 1) return AF_INET6;
  fail(EINVAL, "address");
}

Request make_request(const SocketTuple& tuple, uint32_t device, uint32_t sequence) {
  Request request{};
  request.header.nlmsg_seq = sequence;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  auto& body = request.body;
  body.sdiag_protocol = tuple.protocol;
  body.idiag_states = ~0U;
  auto& id = body.id;
  const int source = parse(tuple.source, id.idiag_src);
  if (parse(tuple.destination, id.idiag_dst) != source) fail(EINVAL, "two families");
  body.sdiag_family = static_cast<uint8_t>(source);
  id.idiag_sport = htons(tuple.source_port);
  id.idiag_dport = htons(tuple.destination_port);
  if (tuple.protocol == IPPROTO_UDP) {
    // "src and dst are swapped for historical reasons" (net/ipv4/udp_diag.c, udp_dump_one).
    std::swap(id.idiag_src, id.idiag_dst);
    std::swap(id.idiag_sport, id.idiag_dport);
  }
  id.idiag_if = device;
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return request;
}

// Of the device in the namespace of the socket; 0 when there is none.
uint32_t index_of(const std::string& device, int fd) {
  ifreq request{};
  if (device.size() >= sizeof request.ifr_name) return 0;
  std::memcpy(request.ifr_name, device.data(), device.size());
  return ioctl(fd, SIOCGIFINDEX, &request) == 0 ? static_cast<uint32_t>(request.ifr_ifindex) : 0;
}

uint64_t cgroup_of(const inet_diag_msg& message, size_t length) {
  const auto* attribute = reinterpret_cast<const rtattr*>(&message + 1);
  for (auto left = static_cast<unsigned>(length - sizeof message); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    uint64_t id = 0;
    if (attribute->rta_type == kCgroupId && RTA_PAYLOAD(attribute) == sizeof id) {
      std::memcpy(&id, RTA_DATA(attribute), sizeof id);
      return id;
    }
  }
  return 0;
}

std::optional<SocketOwner> ask(const SocketTuple& tuple, const std::string& device, int fd) {
  thread_local uint32_t sequence = 0;
  const Request request = make_request(tuple, index_of(device, fd), ++sequence);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(fd, &request, sizeof request, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
    fail(errno, "sock_diag");
  alignas(nlmsghdr) char answer[kAnswerBytes];
  const auto* const header = reinterpret_cast<const nlmsghdr*>(answer);
  // The kernel has answered before sendto(2) returned. Where reading failed once, that answer comes first
  // now.
  do {
    const ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got < 0) fail(errno, "sock_diag");
    if (!NLMSG_OK(header, static_cast<size_t>(got))) fail(EBADMSG, "sock_diag");
  } while (header->nlmsg_seq != sequence);
  if (header->nlmsg_type == NLMSG_ERROR) {
    const int error = header->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))
                          ? EBADMSG
                          : -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
    if (error == ENOENT) return std::nullopt;
    fail(error, "sock_diag");
  }
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) fail(EBADMSG, "sock_diag");
  const auto& message = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  // A listener takes every sender that no other socket does, and has opened nothing.
  if (tuple.protocol == IPPROTO_TCP &&
      (message.idiag_state == TCP_LISTEN || message.idiag_state == TCP_TIME_WAIT))
    return std::nullopt;
  const size_t length = header->nlmsg_len - NLMSG_HDRLEN;
  return SocketOwner{
      .uid = message.idiag_uid, .inode = message.idiag_inode, .cgroup = cgroup_of(message, length)};
}

}  // namespace

std::optional<SocketOwner> socket_owner(const SocketTuple& tuple, const std::string& device, int helper) {
  if (helper >= 0) {
    const Descriptor netlink(make(helper));
    return ask(tuple, device, netlink.fd());
  }
  // Kept, since each flow is asked about: making it anew is three of five system calls.
  thread_local const Descriptor own(make(helper));
  return ask(tuple, device, own.fd());
}

}  // namespace netproxy::netlink
