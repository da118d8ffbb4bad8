#include "socket/make.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "constants.h"

namespace netproxy::socket {

namespace {

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

// The descriptor of the answer, or -1.
int descriptor_of(msghdr& message) {
  int fd = -1;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof fd))
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  }
  return fd;
}

}  // namespace

int ask(int helper, const helper::Request& request, helper::Answer& answer) {
  if (send(helper, &request, sizeof request, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof request))
    fail(errno, "asking the helper");
  pollfd ready{.fd = helper, .events = POLLIN, .revents = 0};
  int events;
  do events = poll(&ready, 1, limits::kHelperAnswerMs);
  while (events < 0 && errno == EINTR);
  if (events == 0) fail(ETIMEDOUT, "waiting for the helper");
  iovec part{.iov_base = &answer, .iov_len = sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(helper, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) fail(errno, "the helper's answer");
  const int fd = descriptor_of(message);
  if (got != static_cast<ssize_t>(sizeof answer) || (answer.error == 0 && fd < 0)) {
    if (fd >= 0) close(fd);
    fail(EPIPE, "the helper is gone");
  }
  answer.step[sizeof answer.step - 1] = '\0';
  answer.name[sizeof answer.name - 1] = '\0';
  if (answer.error != 0) fail(answer.error, answer.step);
  return fd;
}

int make(const Spec& spec, int helper) {
  if (helper != kOwn) {
    const helper::Request request{.kind = helper::Kind::kSocket,
                                  .domain = spec.domain,
                                  .type = spec.type,
                                  .protocol = spec.protocol,
                                  .mark = spec.mark,
                                  .name = {}};
    helper::Answer answer{};
    return ask(helper, request, answer);
  }
  const int fd = ::socket(spec.domain, spec.type | SOCK_NONBLOCK | SOCK_CLOEXEC, spec.protocol);
  if (fd < 0) fail(errno, "socket");
  if (spec.mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &spec.mark, sizeof spec.mark) < 0) {
    const int error = errno;
    close(fd);
    fail(error, "SO_MARK");
  }
  return fd;
}

}  // namespace netproxy::socket
