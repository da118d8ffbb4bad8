#include "helper/descriptors.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "helper/protocol.h"
#include "socket/make.h"
#include "tun/tun.h"

namespace netproxy::helper {

namespace {

int make(const Request& request, Answer& answer) {
  if (request.kind == Kind::kSocket)
    return socket::make({request.domain, request.type, request.protocol, request.mark}, socket::kOwn);
  if (request.kind != Kind::kTun)
    throw std::system_error(EBADMSG, std::generic_category(), "unknown request");
  const auto device = tun::open(std::string(request.name, strnlen(request.name, sizeof request.name)));
  answer.segmentation = device.segmentation ? 1 : 0;
  std::strncpy(answer.name, device.name.c_str(), sizeof answer.name - 1);
  return device.fd;
}

// Step names are ours, as given to std::system_error: "step: words of errno".
void tell(const std::system_error& error, Answer& answer) {
  answer.error = error.code().value();
  const char* const what = error.what();
  const char* const end = std::strstr(what, ": ");
  const size_t length = end == nullptr ? std::strlen(what) : static_cast<size_t>(end - what);
  std::memcpy(answer.step, what, length < kStepBytes ? length : kStepBytes - 1);
}

bool answer_with(int channel, Answer& answer, int fd) {
  iovec part{.iov_base = &answer, .iov_len = sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t sent;
  do sent = sendmsg(channel, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof answer);
}

}  // namespace

bool serve_descriptor(int channel) {
  Request request{};
  const ssize_t got = recv(channel, &request, sizeof request, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  Answer answer{};
  int fd = -1;
  if (got != static_cast<ssize_t>(sizeof request)) {
    answer.error = EBADMSG;
    std::strcpy(answer.step, "short request");
  } else {
    try {
      fd = make(request, answer);
    } catch (const std::system_error& error) {
      tell(error, answer);
    }
  }
  const bool good = answer_with(channel, answer, fd);
  if (fd >= 0) close(fd);
  return good;
}

}  // namespace netproxy::helper
