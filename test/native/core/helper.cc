// The helper's loop with commands that run, end, fail and are signalled, frames that are cut, wrong or
// without end, and requests for descriptors, under sanitizers and in a network namespace of its own.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "constants.h"
#include "helper/commands.h"
#include "helper/descriptors.h"
#include "helper/protocol.h"
#include "socket/make.h"

using namespace netproxy;
using namespace netproxy::helper;

namespace {

#define REQUIRE(condition)                                         \
  do {                                                             \
    if (!(condition)) {                                            \
      std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      std::exit(1);                                                \
    }                                                              \
  } while (false)

std::string number(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string frame(FrameKind kind, uint32_t id, const std::string& payload) {
  const Frame head{.length = static_cast<uint32_t>(payload.size()), .id = id, .kind = kind};
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + payload;
}

std::string run(uint32_t id, const std::string& argv, const std::string& input = "") {
  return frame(FrameKind::kRun, id, number(static_cast<uint32_t>(argv.size())) + argv + input);
}

std::string z(std::initializer_list<const char*> words) {
  std::string text;
  for (const char* const word : words) text.append(word).push_back('\0');
  return text;
}

// The loop of main.cc, without its namespaces.
class Helper {
 public:
  Helper() {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, &children, &mask);
    ends_ = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream_) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets_) == 0);
    mask_ = mask;
  }
  ~Helper() {
    for (const int fd : {stream_[0], stream_[1], packets_[0], packets_[1], ends_}) close(fd);
  }

  // Writes `input` in pieces and turns until `wanted` answers have come; false when the helper gives up.
  bool turn(const std::string& input, size_t piece, size_t wanted) {
    Commands commands(stream_[1], mask_);
    size_t sent = 0;
    std::string answers;
    std::vector<pollfd> polls;
    while (seen.size() < wanted) {
      if (sent < input.size()) {
        const ssize_t got =
            send(stream_[0], input.data() + sent, std::min(piece, input.size() - sent), MSG_NOSIGNAL);
        if (got > 0) sent += static_cast<size_t>(got);
      }
      polls.clear();
      polls.push_back({.fd = ends_, .events = POLLIN, .revents = 0});
      commands.wait_for(polls);
      REQUIRE(poll(polls.data(), polls.size(), sent < input.size() ? 0 : 10000) >= 0);
      if (polls[0].revents != 0) {
        signalfd_siginfo told;
        while (read(ends_, &told, sizeof told) > 0) {
        }
        commands.reap();
      }
      if (!commands.serve(polls)) return false;
      char part[65536];
      for (ssize_t got; (got = recv(stream_[0], part, sizeof part, MSG_DONTWAIT)) > 0;)
        answers.append(part, static_cast<size_t>(got));
      for (Frame head; answers.size() >= sizeof head;) {
        std::memcpy(&head, answers.data(), sizeof head);
        if (answers.size() - sizeof head < head.length) break;
        seen[head.id] = answers.substr(sizeof head, head.length);
        answers.erase(0, sizeof head + head.length);
      }
      if (sent == input.size() && wanted == 0) return true;
    }
    return true;
  }

  int status(uint32_t id) const {
    int value;
    std::memcpy(&value, seen.at(id).data(), sizeof value);
    return value;
  }

  std::map<uint32_t, std::string> seen;
  int packets_[2];

 private:
  int stream_[2];
  int ends_;
  sigset_t mask_;
};

void commands_run() {
  Helper helper;
  const std::string all =
      run(1, z({"ip", "-o", "link", "show", "lo"})) +
      run(2, z({"ip", "-batch", "-"}), "link show nowhere\n") + run(3, z({"sh", "-c", "echo no"})) +
      run(4, "") + run(5, "ip") + frame(FrameKind::kRead, 6, "net/dev") +
      frame(FrameKind::kRead, 7, "../etc/passwd") + frame(FrameKind::kRead, 8, "none") +
      frame(FrameKind::kSpawn, 9, number(3) + z({"sh", "-c", "exit $CODE", "CODE=5", "PATH=/bin:/usr/bin"})) +
      frame(FrameKind::kSpawn, 10, number(1) + z({"/", "X=1"})) +
      frame(FrameKind::kSpawn, 11, number(9) + z({"a"})) +
      frame(FrameKind::kSpawn, 12, number(2) + z({"sleep", "1000", "PATH=/bin:/usr/bin"})) +
      frame(FrameKind::kSignal, 0, number(12) + number(SIGTERM)) + frame(FrameKind::kSignal, 0, "x") +
      run(13, z({"ip", "-batch", "-"}), std::string(3000000, '#') + "\n");
  for (const size_t piece : {size_t{1 << 20}, size_t{4093}}) {
    helper.seen.clear();
    REQUIRE(helper.turn(all, piece, 13));
    REQUIRE(helper.status(1) == 0 && helper.seen[1].find("LOOPBACK") != std::string::npos);
    REQUIRE(helper.status(2) == 1 << 8 && helper.seen[2].find("nowhere") != std::string::npos);
    for (const uint32_t id : {3, 4, 5}) REQUIRE(helper.status(id) == -EPERM);
    REQUIRE(helper.status(6) == 0 && helper.seen[6].find("lo:") != std::string::npos);
    REQUIRE(helper.status(7) != 0 && helper.status(8) == ENOENT);
    REQUIRE(helper.status(9) == 5 << 8);
    REQUIRE(helper.status(10) == -EACCES && helper.status(11) == -EBADMSG);
    REQUIRE(helper.status(12) == SIGTERM);
    REQUIRE(helper.status(13) == 0);
  }
}

// A length that no frame has is the end of the conversation, before anything is kept for it.
void frames_without_end() {
  Helper helper;
  const Frame head{.length = 0xffffffff, .id = 1, .kind = FrameKind::kRun};
  REQUIRE(!helper.turn(std::string(reinterpret_cast<const char*>(&head), sizeof head), 100, 1));
}

void any_bytes() {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    Helper helper;
    std::string bytes;
    for (int at = 0; at < 20; ++at) {
      std::string payload(random() % 60, '\0');
      for (char& byte : payload) byte = static_cast<char>(random() % 4 == 0 ? 0 : random());
      // Not spawn, by which anything may be run.
      const auto kind =
          static_cast<FrameKind>(std::initializer_list<int>{1, 2, 3, 6, 99}.begin()[random() % 5]);
      bytes += frame(kind, 100 + static_cast<uint32_t>(at), payload);
    }
    bytes.resize(random() % bytes.size());
    helper.turn(bytes, 1 + random() % 50, 0);
  }
}

void descriptors() {
  Helper helper;
  std::thread server([&helper] {
    // Ends when the other end is closed.
    pollfd ready{.fd = helper.packets_[1], .events = POLLIN, .revents = 0};
    while (poll(&ready, 1, 10000) > 0 && serve_descriptor(helper.packets_[1])) {
    }
  });
  const int channel = helper.packets_[0];
  const int socket = socket::make({AF_INET, SOCK_DGRAM, 0, 0x6e70}, channel);
  uint32_t mark = 0;
  socklen_t size = sizeof mark;
  REQUIRE(getsockopt(socket, SOL_SOCKET, SO_MARK, &mark, &size) == 0 && mark == 0x6e70);
  close(socket);
  try {
    socket::make({AF_INET, 99, 0, 0}, channel);
    REQUIRE(false);
  } catch (const std::system_error& error) {
    REQUIRE(error.code().value() == EINVAL && std::string(error.what()).find("socket") == 0);
  }
  Request request{};
  request.kind = Kind::kTun;
  std::memset(request.name, 'x', sizeof request.name);
  Answer answer{};
  bool refused = false;
  try {
    socket::ask(channel, request, answer);
  } catch (const std::system_error&) {
    refused = true;
  }
  REQUIRE(refused);
  std::strcpy(request.name, "tun3");
  answer = {};
  const int tun = socket::ask(channel, request, answer);
  REQUIRE(tun >= 0 && std::string(answer.name) == "tun3");
  close(tun);
  // Too short for a request: an answer all the same.
  REQUIRE(send(channel, "x", 1, 0) == 1);
  Answer told{};
  REQUIRE(recv(channel, &told, sizeof told, 0) == sizeof told && told.error == EBADMSG);
  shutdown(channel, SHUT_RDWR);
  server.join();
}

}  // namespace

int main() {
  descriptors();
  commands_run();
  frames_without_end();
  any_bytes();
  std::puts("good");
}
