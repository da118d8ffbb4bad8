// The engine's thread and the thread that plays JavaScript, on a real TUN in a network namespace of its own
// (`unshare -n`), while applications connect, echo, half-close and abort. For ThreadSanitizer above all.
#include "engine/engine.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tun/tun.h"

using namespace netproxy;

namespace {

constexpr int kApplications = 6;
constexpr int kRounds = 40;
constexpr size_t kLargest = 600'000;

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::_Exit(1);
}

// An echo server behind the tunnel: what comes up goes down. Port 1 refuses.
class Upstream {
 public:
  explicit Upstream(int tun)
      : engine_(tun, {.secret = {3, 4}, .mtu = 1500}, [this] { wake(); }), thread_([this] { run(); }) {}

  void stop() {
    stopping_ = true;
    wake();
    thread_.join();
    engine_.stop();
  }
  engine::Engine& engine() { return engine_; }

 private:
  struct Flow {
    size_t queued = 0;
    bool ended = false;
  };

  void wake() {
    const std::lock_guard lock(mutex_);
    due_ = true;
    changed_.notify_one();
  }

  void run() {
    std::vector<engine::Event> events(64);
    while (!stopping_) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(50), [this] { return due_; });
        due_ = false;
      }
      do {
        size_t count;
        do {
          count = engine_.poll(events.data(), events.size());
          for (size_t i = 0; i < count; ++i) handle(events[i]);
        } while (count == events.size());
      } while (engine_.settle());
      engine_.snapshot();
    }
  }

  void handle(const engine::Event& event) {
    const tcp::FlowId flow = event.flow;
    switch (event.type) {
      case engine::EventType::kOpened:
        if (event.destination_port == 1) {
          engine_.reject(flow, tcp::Reject::kRefused);
        } else {
          flows_[flow] = {};
          engine_.accept(flow);
        }
        break;
      case engine::EventType::kReadable:
      case engine::EventType::kDrained:
        echo(flow);
        break;
      case engine::EventType::kClosed:
        flows_.erase(flow);
        break;
      default:
        break;
    }
  }

  void echo(tcp::FlowId flow) {
    const auto found = flows_.find(flow);
    if (found == flows_.end() || found->second.ended) return;
    bool ended = engine_.ended(flow);
    for (int i = 0;; ++i) {
      uint8_t copy[20'000];
      size_t length;
      if (i % 2 == 0) {
        const auto view = engine_.take(flow, sizeof copy);
        length = view.length;
        std::copy_n(engine_.slabs().memory() + view.offset, length, copy);
        if (length > 0) ended = engine_.taken(flow, length);
      } else {
        const auto lent = engine_.lend(flow, copy, sizeof copy);
        length = lent.length;
        ended = lent.ended;
        if (lent.slab != engine::Slabs::kNone) {
          std::copy_n(lent.data, length, copy);
          ended = engine_.give_back(flow, lent);
        }
      }
      if (length == 0) break;
      engine_.write(flow, copy, length);
    }
    if (ended) {
      found->second.ended = true;
      engine_.end(flow);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool due_ = false;
  std::atomic<bool> stopping_ = false;
  std::map<tcp::FlowId, Flow> flows_;  // the thread's own
  engine::Engine engine_;
  std::thread thread_;
};

sockaddr_in target(int number, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(0xc6336400u + static_cast<uint32_t>(number) + 1);  // 198.51.100.x
  return address;
}

// One application: bytes up and down at once, then a half-close, or an abort in the middle.
void converse(int number, int round) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const bool refused = round % 10 == 3;
  const sockaddr_in address = target(number, refused ? 1 : 7);
  const int connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  require((connected == 0) != refused, "a connect ended otherwise than it should");
  if (refused) {
    close(fd);
    return;
  }
  const size_t length = round % 4 == 0 ? 10 : kLargest / static_cast<size_t>(1 + round % 5);
  std::string up(length, 0);
  for (size_t i = 0; i < length; ++i) up[i] = static_cast<char>(i * 7 + static_cast<size_t>(number + round));
  const bool aborts = round % 7 == 5;
  std::thread writer([&] {
    for (size_t sent = 0; sent < length;) {
      const ssize_t n = send(fd, up.data() + sent, std::min<size_t>(length - sent, 50'000), MSG_NOSIGNAL);
      if (n < 0) return;
      sent += static_cast<size_t>(n);
    }
    shutdown(fd, SHUT_WR);
  });
  std::string down;
  char part[30'000];
  ssize_t n;
  while ((n = recv(fd, part, sizeof part, 0)) > 0) {
    down.append(part, static_cast<size_t>(n));
    if (aborts && down.size() > 5) break;
  }
  if (aborts) {
    shutdown(fd, SHUT_RDWR);
    writer.join();
    const linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  } else {
    writer.join();
    require(down == up, "the echo differs");
  }
  close(fd);
}

}  // namespace

int main() {
  const tun::Device device = tun::open("npengine");
  require(
      std::system("ip link set lo up && ip link set npengine up && "
                  "ip addr add 10.99.0.1/32 dev npengine && ip route add 198.51.100.0/24 dev npengine") == 0,
      "setting up the namespace");
  Upstream upstream(device.fd);
  std::vector<std::thread> applications;
  for (int i = 0; i < kApplications; ++i) {
    applications.emplace_back([i] {
      for (int round = 0; round < kRounds; ++round) converse(i, round);
    });
  }
  for (auto& application : applications) application.join();
  // What we closed first lingers for a second; the rest is over by then.
  bool clean = false;
  for (int i = 0; i < 100 && !clean; ++i) {
    usleep(100'000);
    const auto left = upstream.engine().snapshot();
    clean = left.flows == 0 && left.received_bytes == 0 && left.blocks_in_use == 0 && left.slabs_in_use <= 1;
  }
  const auto left = upstream.engine().snapshot();
  if (!clean) {
    std::fprintf(stderr, "left over: flows %zu bytes %zu blocks %zu slabs %zu\n", left.flows,
                 left.received_bytes, left.blocks_in_use, left.slabs_in_use);
    return 1;
  }
  upstream.stop();
  std::printf("%d conversations good, %llu segments in\n", kApplications * kRounds,
              static_cast<unsigned long long>(left.tcp.segments_in));
  return 0;
}
