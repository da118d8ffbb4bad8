// Bytes as a sequence of packets, calls and steps of time to one Stack. The fuzzer knows the stack's own
// sequence numbers (it could not guess them), so that it gets into every state. Invariants are checked
// after each step, and at the end nothing may be left over.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "constants.h"
#include "host.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

void require(bool good) {
  if (!good) std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool more() const { return at_ < end_; }
  uint8_t byte() { return more() ? *at_++ : 0; }
  uint32_t number() { return static_cast<uint32_t>(byte() << 8 | byte()); }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

constexpr uint32_t kFlows = 4;
constexpr uint32_t kIsn = 0xfffff000;  // wraps soon

// One of the few 4-tuples that are used, so that packets meet flows.
struct Tuple {
  tcp::FlowKey key;
  tcp::FlowId flow = 0;
  uint32_t next = kIsn;  // what the application sends next
  uint32_t seen = 0;     // our highest number that the application has seen
  uint32_t edge = 0;     // right edge that it has been told
  bool told = false;
  int scale = 0;
};

class Run {
 public:
  explicit Run(Input& in) : in_(in), host_(in.byte() % 2 == 0 ? 1500 : 65'520) {
    for (uint32_t i = 0; i < kFlows; ++i) {
      tuples_[i].key.family = i % 2 == 0 ? 4 : 6;
      tuples_[i].key.source = {10, 0, 0, 1};
      tuples_[i].key.destination = {192, 0, 2, static_cast<uint8_t>(i)};
      tuples_[i].key.source_port = static_cast<uint16_t>(1000 + i);
      tuples_[i].key.destination_port = 80;
    }
  }

  void run() {
    for (int steps = 0; in_.more() && steps < 2000; ++steps) {
      step();
      check();
    }
    for (const Tuple& tuple : tuples_) host_.stack.abort(tuple.flow);
    events();
    for (int i = 0; i < 10; ++i) {
      host_.now += 60'000'000;
      host_.stack.advance(host_.now);
      output(1000);
    }
    events();
    require(host_.clean());
    require(host_.stack.next_deadline() == tcp::kNever);
  }

 private:
  void step() {
    Tuple& t = tuples_[in_.byte() % kFlows];
    switch (in_.byte() % 16) {
      case 0:
        host_.stack.accept(t.flow);
        break;
      case 1:
        host_.stack.reject(t.flow, static_cast<tcp::Reject>(in_.byte() % 4));
        break;
      case 2:
        if (in_.byte() % 4 == 0) host_.stack.abort(t.flow);
        break;
      case 3: {
        const Bytes data(in_.number() * (in_.byte() % 8), 'd');
        const size_t queued = host_.stack.write(t.flow, data.data(), data.size());
        require(queued == 0 || queued >= data.size());
        break;
      }
      case 4:
        host_.stack.end(t.flow);
        break;
      case 5:
        host_.take(t.flow, in_.number() * 16);
        break;
      case 6:
        host_.now += in_.number() * (in_.byte() % 2 == 0 ? 1'000 : 100'000);
        host_.stack.advance(host_.now);
        break;
      case 7:
        output(in_.byte() % 4);
        break;
      case 8:
        host_.stack.collect();
        break;
      case 9: {
        packet::OutPacket out;
        if (host_.stack.output_now(t.flow, out, host_.now)) sent(out);
        break;
      }
      case 10: {
        // A stale or invented number.
        host_.stack.accept(in_.number() << 16 | in_.number());
        break;
      }
      default:
        segment(t);
    }
    events();
  }

  // Mostly what a real application would send next, with anything out of place.
  void segment(Tuple& t) {
    Wire wire;
    const uint8_t kind = in_.byte();
    const uint8_t flags[] = {packet::kAck,
                             packet::kSyn,
                             packet::kAck | packet::kFin,
                             packet::kRst,
                             packet::kAck | packet::kPsh,
                             packet::kRst | packet::kAck,
                             packet::kSyn | packet::kAck,
                             0};
    wire.flags = kind % 16 == 15 ? in_.byte() : flags[kind % 8];
    wire.sequence = t.next + static_cast<uint32_t>(static_cast<int8_t>(kind / 16 % 2 == 0 ? 0 : in_.byte())) *
                                 (kind / 32 % 2 == 0 ? 1u : 1000u);
    wire.acknowledgement = t.seen - (kind / 64 % 2 == 0 ? 0 : in_.number());
    wire.window = kind >= 128 ? static_cast<uint16_t>(in_.number()) : uint16_t{65'535};
    if ((wire.flags & packet::kSyn) != 0) {
      const uint8_t options = in_.byte();
      if (options % 2 == 1) wire.options = {2, 4, in_.byte(), in_.byte()};
      if (options % 4 >= 2) wire.options.insert(wire.options.end(), {3, 3, in_.byte()});
      if (options >= 128) wire.options.resize(4 * (options % 10), options);
    } else {
      wire.payload.assign(in_.byte() * (in_.byte() % 3 == 0 ? 200u : 1u), 'u');
    }
    require(host_.deliver(build(t.key, wire), in_.byte() % 4 != 0));
    // The stack's word counts for what is next; a SYN begins anew.
    if ((wire.flags & packet::kSyn) != 0) t.next = wire.sequence + 1;
  }

  void output(uint32_t most) {
    packet::OutPacket out;
    for (uint32_t i = 0; i < most && host_.stack.output(out, host_.now); ++i) sent(out);
  }

  void sent(const packet::OutPacket& out) {
    const Received got = dissect(flatten(out));
    require(got.good);
    if (got.protocol != packet::kProtocolTcp) return;
    for (Tuple& t : tuples_) {
      if (!(t.key == got.key)) continue;
      const Wire& s = got.segment;
      const auto end = s.sequence + static_cast<uint32_t>(s.payload.size()) +
                       ((s.flags & (packet::kSyn | packet::kFin)) != 0 ? 1 : 0);
      if ((s.flags & packet::kRst) != 0) continue;
      if ((s.flags & packet::kSyn) != 0) {
        t.seen = end;
        t.scale = std::max(got.scale, 0);
        t.told = false;
      } else if (static_cast<int32_t>(end - t.seen) > 0) {
        t.seen = end;
      }
      // The acknowledgement and the window's edge never move back (but by the scale's rounding).
      const uint32_t shift = (s.flags & packet::kSyn) != 0 ? 0 : static_cast<uint32_t>(t.scale);
      const uint32_t edge = s.acknowledgement + (uint32_t{s.window} << shift);
      if (t.told) require(static_cast<int32_t>(edge + 63 - t.edge) >= 0);
      if (!t.told || static_cast<int32_t>(edge - t.edge) > 0) t.edge = edge;
      t.told = true;
      t.next = s.acknowledgement;
    }
  }

  void events() {
    for (const Seen& seen : host_.events) {
      if (seen.kind == Seen::Kind::kOpened) {
        require(!open_.contains(seen.flow));
        open_[seen.flow] = true;
        for (Tuple& t : tuples_) {
          if (!(t.key == seen.key)) continue;
          t.flow = seen.flow;
          t.told = false;
        }
      } else {
        require(open_.contains(seen.flow));  // nothing is said about a flow after its end
        if (seen.kind == Seen::Kind::kClosed) open_.erase(seen.flow);
      }
    }
    host_.events.clear();
  }

  void check() {
    const tcp::Stack& stack = host_.stack;
    require(stack.flows() <= kFlows);
    require(stack.pending_dials() <= stack.flows());
    require(stack.received_bytes() <= kFlows * (size_t{limits::kReceiveWindow} + 65'536));
    require(host_.slabs.in_use() <= limits::kSlabs);
  }

  Input& in_;
  Host host_;
  Tuple tuples_[kFlows];
  std::map<tcp::FlowId, bool> open_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Run(in).run();
  return 0;
}
