#include "helper/commands.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "constants.h"

extern char** environ;

namespace netproxy::helper {

namespace {

// What netproxy may have run: it could do nothing with more.
constexpr const char* kAllowed[] = {"ip", "nft"};
constexpr char kProc[] = "/proc/";

void put(std::string& out, uint32_t number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

bool take(const std::string& from, size_t& at, uint32_t& number) {
  if (from.size() - at < sizeof number) return false;
  std::memcpy(&number, from.data() + at, sizeof number);
  at += sizeof number;
  return true;
}

// The strings between `at` and `end`, each with a NUL behind it. Empty when the last one has none.
std::vector<char*> strings(std::string& text, size_t at, size_t end) {
  std::vector<char*> found;
  if (end > text.size() || at >= end || text[end - 1] != '\0') return found;
  while (at < end) {
    found.push_back(text.data() + at);
    at += std::strlen(text.data() + at) + 1;
  }
  return found;
}

void shut(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// A user other than 0 keeps nothing over an exec but ambient capabilities (capabilities(7)).
void keep_net_admin() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0) return;
  data[CAP_TO_INDEX(CAP_NET_ADMIN)].inheritable |= CAP_TO_MASK(CAP_NET_ADMIN);
  if (syscall(SYS_capset, &header, data) < 0) return;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

// False at the end. What is beyond the bound is read and dropped, so that the writer ends.
bool drain(int fd, std::string& into) {
  char part[16384];
  for (;;) {
    const ssize_t got = read(fd, part, sizeof part);
    if (got > 0) {
      if (into.size() <= limits::kHelperOutputBytes) into.append(part, static_cast<size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else {
      return got < 0 && errno == EAGAIN;
    }
  }
}

}  // namespace

Commands::~Commands() {
  for (Child& child : children_) {
    shut(child.in);
    shut(child.out);
    shut(child.err);
  }
}

void Commands::hello(int error, const std::string& step, bool covered) {
  std::string payload;
  put(payload, static_cast<uint32_t>(error));
  payload.push_back(covered ? '\1' : '\0');
  payload += step;
  send(FrameKind::kHello, 0, payload);
}

void Commands::wait_for(std::vector<pollfd>& polls) const {
  const short events = static_cast<short>(POLLIN | (queued_.empty() ? 0 : POLLOUT));
  polls.push_back({.fd = channel_, .events = events, .revents = 0});
  for (const Child& child : children_) {
    if (child.in >= 0) polls.push_back({.fd = child.in, .events = POLLOUT, .revents = 0});
    if (child.out >= 0) polls.push_back({.fd = child.out, .events = POLLIN, .revents = 0});
    if (child.err >= 0) polls.push_back({.fd = child.err, .events = POLLIN, .revents = 0});
  }
}

bool Commands::serve(const std::vector<pollfd>& polls) {
  const auto ready = [&polls](int fd) {
    if (fd < 0) return false;
    for (const pollfd& one : polls)
      if (one.fd == fd && one.revents != 0) return true;
    return false;
  };
  for (Child& child : children_) {
    if (ready(child.in)) feed(child);
    if (ready(child.out) && !drain(child.out, child.output)) shut(child.out);
    if (ready(child.err) && !drain(child.err, child.errors)) shut(child.err);
  }
  finish();
  if (ready(channel_) && !read_channel()) return false;
  return flush();
}

void Commands::reap() {
  for (Child& child : children_) {
    if (!child.ended && waitpid(child.pid, &child.status, WNOHANG) == child.pid) child.ended = true;
  }
  finish();
}

// Answers for those that have ended and said all.
void Commands::finish() {
  for (size_t at = 0; at < children_.size();) {
    Child& child = children_[at];
    if (!child.ended || child.out >= 0 || child.err >= 0) {
      ++at;
      continue;
    }
    answer(child);
    shut(child.in);
    children_.erase(children_.begin() + static_cast<ptrdiff_t>(at));
  }
}

void Commands::answer(const Child& child) {
  std::string payload;
  const bool cut = child.output.size() > limits::kHelperOutputBytes;
  put(payload, static_cast<uint32_t>(cut ? -EMSGSIZE : child.status));
  if (child.kind == FrameKind::kRun) {
    put(payload, static_cast<uint32_t>(child.output.size()));
    payload += child.output;
    payload += child.errors;
  }
  send(child.kind, child.id, payload);
}

bool Commands::read_channel() {
  char part[65536];
  for (;;) {
    const ssize_t got = recv(channel_, part, sizeof part, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      if (errno != EAGAIN) return false;
      break;
    }
    if (got == 0) return false;
    received_.append(part, static_cast<size_t>(got));
    if (received_.size() > limits::kHelperFrameBytes) break;
  }
  size_t at = 0;
  for (;;) {
    Frame frame;
    if (received_.size() - at < sizeof frame) break;
    std::memcpy(&frame, received_.data() + at, sizeof frame);
    if (frame.length > limits::kHelperFrameBytes - sizeof frame) return false;
    if (received_.size() - at - sizeof frame < frame.length) break;
    handle(frame, received_.substr(at + sizeof frame, frame.length));
    at += sizeof frame + frame.length;
  }
  received_.erase(0, at);
  return true;
}

void Commands::handle(const Frame& frame, const std::string& payload) {
  switch (frame.kind) {
    case FrameKind::kRun:
      run(frame.id, payload);
      break;
    case FrameKind::kSpawn:
      spawn(frame.id, payload);
      break;
    case FrameKind::kRead:
      read_proc(frame.id, payload);
      break;
    case FrameKind::kSignal:
      send_signal(payload);
      break;
    case FrameKind::kHello:
      break;
  }
}

void Commands::run(uint32_t id, const std::string& payload) {
  std::string text = payload;
  size_t at = 0;
  uint32_t length = 0;
  std::vector<char*> argv;
  if (take(text, at, length) && length <= text.size() - at) argv = strings(text, at, at + length);
  bool allowed = false;
  for (const char* const name : kAllowed)
    allowed = allowed || (!argv.empty() && std::strcmp(argv[0], name) == 0);
  Child child{.id = id, .kind = FrameKind::kRun, .pid = -1};
  int in[2] = {-1, -1};
  int out[2] = {-1, -1};
  int err[2] = {-1, -1};
  int error = 0;
  if (!allowed)
    error = EPERM;
  else if (children_.size() >= limits::kHelperCommandsMax)
    error = EAGAIN;
  else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
    error = errno;
  if (error == 0) {
    argv.push_back(nullptr);
    child.pid = start(argv, {in[0], out[1], err[1]}, nullptr);
    if (child.pid < 0) error = errno;
  }
  shut(in[0]);
  shut(out[1]);
  shut(err[1]);
  if (error != 0) {
    shut(in[1]);
    shut(out[0]);
    shut(err[0]);
    child.status = -error;
    answer(child);
    return;
  }
  child.input = payload.substr(at + length);
  child.in = in[1];
  child.out = out[0];
  child.err = err[0];
  for (const int fd : {child.in, child.out, child.err}) fcntl(fd, F_SETFL, O_NONBLOCK);
  children_.push_back(std::move(child));
  feed(children_.back());
}

void Commands::spawn(uint32_t id, const std::string& payload) {
  std::string text = payload;
  size_t at = 0;
  uint32_t count = 0;
  Child child{.id = id, .kind = FrameKind::kSpawn, .pid = -1};
  int error = EBADMSG;
  if (take(text, at, count)) {
    const std::vector<char*> all = strings(text, at, text.size());
    if (count > 0 && all.size() >= count) {
      std::vector<char*> argv(all.begin(), all.begin() + count);
      std::vector<char*> environment(all.begin() + count, all.end());
      argv.push_back(nullptr);
      environment.push_back(nullptr);
      child.pid = start(argv, {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, environment.data());
      error = child.pid < 0 ? errno : 0;
    }
  }
  if (error != 0) {
    child.status = -error;
    answer(child);
    return;
  }
  children_.push_back(std::move(child));
}

// Gives the process, or -1 with the errno of exec itself.
pid_t Commands::start(const std::vector<char*>& argv, const int (&stdio)[3], char* const* environment) {
  int told[2];
  if (pipe2(told, O_CLOEXEC) < 0) return -1;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // It must not outlive us: without netproxy it can reach nothing, and whoever waits for it waits for us.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    for (int at = 0; at < 3; ++at)
      if (stdio[at] != at) dup2(stdio[at], at);
    for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE}) signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
    if (environment == nullptr) {
      keep_net_admin();
    } else {
      environ = const_cast<char**>(environment);
    }
    execvp(argv[0], argv.data());
    const int error = errno;
    if (write(told[1], &error, sizeof error) < 0) _exit(1);
    _exit(1);
  }
  const int forked = errno;
  close(told[1]);
  int error = pid < 0 ? forked : 0;
  // Ends when the exec closes the other end.
  ssize_t got = -1;
  while (pid > 0 && (got = read(told[0], &error, sizeof error)) < 0 && errno == EINTR) {
  }
  close(told[0]);
  if (pid > 0 && got != static_cast<ssize_t>(sizeof error)) return pid;
  while (pid > 0 && waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  errno = error;
  return -1;
}

void Commands::read_proc(uint32_t id, const std::string& payload) {
  std::string content;
  int error = 0;
  const std::string path = kProc + payload;
  // No way out of /proc.
  const int fd = payload.find("..") == std::string::npos ? open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) {
    error = errno == 0 ? EPERM : errno;
  } else {
    // Files of /proc are never waited for.
    drain(fd, content);
    close(fd);
  }
  std::string answer;
  put(answer, static_cast<uint32_t>(error));
  send(FrameKind::kRead, id, answer + content);
}

void Commands::send_signal(const std::string& payload) const {
  size_t at = 0;
  uint32_t id = 0;
  uint32_t number = 0;
  if (!take(payload, at, id) || !take(payload, at, number)) return;
  for (const Child& child : children_)
    if (child.id == id && !child.ended) kill(child.pid, static_cast<int>(number));
}

void Commands::feed(Child& child) {
  while (child.written < child.input.size()) {
    const ssize_t sent =
        write(child.in, child.input.data() + child.written, child.input.size() - child.written);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    // It stopped at an earlier line; its exit code tells.
    if (sent < 0) break;
    child.written += static_cast<size_t>(sent);
  }
  shut(child.in);
}

void Commands::send(FrameKind kind, uint32_t id, const std::string& payload) {
  const Frame frame{.length = static_cast<uint32_t>(payload.size()), .id = id, .kind = kind};
  queued_.append(reinterpret_cast<const char*>(&frame), sizeof frame);
  queued_ += payload;
}

bool Commands::flush() {
  while (!queued_.empty()) {
    const ssize_t sent = ::send(channel_, queued_.data(), queued_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    queued_.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace netproxy::helper
