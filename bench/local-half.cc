// The local half alone: the engine with a sink, a source and an echo in place of SSH, on its thread as a
// connection would be (native/engine/outlet.h). Connects are accepted by another thread, as by JavaScript.
//
//   local-half DEVICE MTU SINK_PORT SOURCE_PORT       every other port echoes; "ready" once the TUN is there
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "constants.h"
#include "engine/engine.h"
#include "tun/tun.h"

using namespace netproxy;

namespace {

// What one channel packet carries, so that the calls are those of a real transfer.
constexpr size_t kPiece = 32 * 1024;

enum class Role { kSink, kSource, kEcho };

class Ends final : public engine::Outlet {
 public:
  engine::Engine* engine = nullptr;

  // A channel's number is its place here; numbers are not used again, a run has few.
  uint32_t add(tcp::FlowId flow, Role role) {
    const std::lock_guard lock(mutex_);
    flows_.push_back({flow, role});
    return static_cast<uint32_t>(flows_.size() - 1);
  }

  void polled(uint32_t) override {}
  void drained(uint32_t channel) override {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(channel);
  }
  bool serve(const std::vector<uint32_t>& channels) override {
    const std::lock_guard lock(mutex_);
    waiting_.insert(waiting_.end(), channels.begin(), channels.end());
    size_t budget = limits::kServeBytes;
    while (!waiting_.empty() && budget > 0) {
      const uint32_t channel = waiting_.front();
      waiting_.pop_front();
      const size_t moved = flows_[channel].role == Role::kSource ? fill(flows_[channel], budget)
                                                                 : drain(flows_[channel], budget);
      if (moved >= budget) {
        waiting_.push_back(channel);
        return true;
      }
      budget -= moved;
    }
    return false;
  }

 private:
  struct Flow {
    tcp::FlowId id;
    Role role;
  };

  size_t fill(const Flow& flow, size_t budget) {
    size_t moved = 0;
    while (moved < budget) {
      const size_t queued = engine->deliver(flow.id, zeros_.data(), kPiece);
      if (queued == 0) break;
      moved += kPiece;
      if (queued > limits::kSendHighWater) break;
    }
    return moved;
  }

  size_t drain(const Flow& flow, size_t budget) {
    size_t moved = 0;
    while (moved < budget) {
      const auto lent = engine->lend(flow.id, copy_.data(), kPiece);
      bool ended = lent.ended;
      if (lent.length > 0 && flow.role == Role::kEcho) engine->deliver(flow.id, lent.data, lent.length);
      if (lent.slab != engine::Slabs::kNone) ended = engine->give_back(flow.id, lent);
      moved += lent.length;
      if (ended) engine->end(flow.id);
      if (ended || lent.length == 0) break;
    }
    return moved;
  }

  std::mutex mutex_;
  std::vector<Flow> flows_;
  std::deque<uint32_t> waiting_;
  std::vector<uint8_t> zeros_ = std::vector<uint8_t>(kPiece);
  std::vector<uint8_t> copy_ = std::vector<uint8_t>(kPiece);
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "local-half: needs DEVICE MTU SINK_PORT SOURCE_PORT\n");
    return 64;
  }
  const int sink = atoi(argv[3]), source = atoi(argv[4]);
  std::mutex mutex;
  std::condition_variable changed;
  bool due = false;
  const auto ends = std::make_shared<Ends>();
  const tcp::Config config{
      .secret = {1, 2}, .mtu = static_cast<uint16_t>(atoi(argv[2])), .ack_delay = limits::kAckDelayUs};
  engine::Engine engine(tun::open(argv[1]).fd, config, [&] {
    const std::lock_guard lock(mutex);
    due = true;
    changed.notify_one();
  });
  ends->engine = &engine;
  puts("ready");
  fflush(stdout);
  std::vector<engine::Event> events(limits::kEventBatch);
  for (;;) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return due; });
      due = false;
    }
    size_t count;
    do {
      count = engine.poll(events.data(), events.size());
      for (size_t i = 0; i < count; ++i) {
        const engine::Event& event = events[i];
        if (event.type == engine::EventType::kClosed) engine.unjoin(event.flow);
        if (event.type != engine::EventType::kOpened) continue;
        const Role role = event.destination_port == sink     ? Role::kSink
                          : event.destination_port == source ? Role::kSource
                                                             : Role::kEcho;
        const uint32_t channel = ends->add(event.flow, role);
        engine.join(event.flow, ends, channel);
        engine.accept(event.flow);
        if (role == Role::kSource) {
          ends->drained(channel);
          engine.serve_again(ends);
        }
      }
    } while (count == events.size() || engine.settle());
  }
}
