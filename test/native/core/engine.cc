// The engine's thread and the thread that plays JavaScript, on a real TUN in a network namespace of its own
// (`unshare -n`), while applications connect, echo, half-close and abort. For ThreadSanitizer above all.
#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <thread>
#include <vector>

#include "applications.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

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

}  // namespace

int main() {
  Upstream upstream(open_tun());
  run_applications(upstream.engine());
  upstream.stop();
  return 0;
}
