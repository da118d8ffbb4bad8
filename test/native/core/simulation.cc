// Deterministic simulation: many applications with a kernel TCP of their own (peer.h) talk to one Stack
// over a link that loses, repeats, reorders, delays and corrupts. Every stream must arrive byte by byte,
// or its flow must end by a reset or time-out that one side asked for, and nothing may be left over.
//
//   simulation [FIRST_SEED [COUNT]]
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <queue>
#include <random>

#include "constants.h"
#include "host.h"
#include "peer.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

constexpr tcp::Time kMs = 1000;
constexpr tcp::Time kSecond = 1'000'000;
constexpr tcp::Time kEndOfTime = 7'200 * kSecond;  // lost resets are found out by keepalive

// What both directions carry: a function of the flow and the position, so that no copy is kept.
uint8_t byte_at(uint32_t flow, bool up, size_t position) {
  uint64_t x = (uint64_t{flow} << 33 | uint64_t{up} << 32) + position / 8 * 0x9e3779b97f4a7c15ULL;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9ULL;
  return static_cast<uint8_t>(x >> (8 * (position % 8)));
}

struct Fault {
  std::string what;
};
void require(bool good, const char* what) {
  if (!good) throw Fault{what};
}

// One conversation: the application's side is `peer`, the upstream's side is what JavaScript would do.
struct Conversation {
  uint32_t index;
  Peer peer;
  // The plan.
  tcp::Time start = 0;
  tcp::Time dial = 0;
  int verdict = 0;  // 0 accept, 1 refuse, 2 unreachable, 3 never answered
  size_t up = 0, down = 0;
  bool up_end_waits = false;    // the application closes its half only after it has read all
  bool down_end_waits = false;  // the upstream does
  tcp::Time app_abort = tcp::kNever, stack_abort = tcp::kNever;
  size_t read_step = 0, write_step = 0;
  tcp::Time read_pause = 0, write_pause = 0;
  // How far it has come.
  bool started = false, answered = false;
  tcp::FlowId flow = 0;
  bool closed = false;
  tcp::End end = tcp::End::kFinished;
  size_t up_written = 0, up_read = 0, down_written = 0, down_read = 0;
  bool up_ended = false, down_end_called = false, aborted = false;
  tcp::Time next_app = tcp::kNever, next_stack = tcp::kNever;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : random_(seed), host_(pick<uint16_t>({1280, 1500, 65'520}), {seed, ~seed}) {
    // A third of the runs on a good link, where sequences of events are what is tried out.
    if (below(3) > 0) {
      loss_ = below(12);
      copies_ = below(8);
      corrupt_ = below(6);
      jitter_ = pick<tcp::Time>({0, 50, 2 * kMs, 60 * kMs});
    }
    const uint32_t count = 1 + below(below(4) == 0 ? 30 : 4);
    for (uint32_t i = 0; i < count; ++i) plan(i);
  }

  void run() {
    const tcp::Time start = host_.now;
    while (true) {
      tcp::Time next = tcp::kNever;
      bool busy = false;
      for (auto& c : all_) {
        step(*c);
        if (over(*c)) continue;
        busy = true;
        next = std::min({next, c->peer.next_deadline(), c->next_app, c->next_stack, c->app_abort});
        if (!c->started) next = std::min(next, c->start);
      }
      pump();
      next = std::min(next, host_.stack.next_deadline());
      if (!link_.empty()) next = std::min(next, link_.top().at);
      if (!busy && link_.empty() && host_.stack.flows() == 0) break;
      require(next != tcp::kNever, "stuck: nothing will ever happen");
      host_.now = std::max(host_.now + 1, next);
      require(host_.now - start < kEndOfTime, "stuck: it takes too long");
      while (!link_.empty() && link_.top().at <= host_.now) {
        const Transit packet = link_.top();
        link_.pop();
        arrive(packet);
      }
      host_.stack.advance(host_.now);
      for (auto& c : all_) c->peer.advance(host_.now);
      check();
    }
    Received ignored;
    while (host_.next(ignored)) {
    }
    require(host_.clean(), "something is left over");
    host_.now += limits::kKeepaliveSweepUs + limits::kRetransmitLastUs;
    host_.stack.advance(host_.now);
    require(host_.stack.next_deadline() == tcp::kNever, "a timer of a dead flow is left over");
    for (auto& c : all_) result(*c);
  }

 private:
  struct Transit {
    tcp::Time at;
    uint64_t order;
    bool up;
    Bytes packet;
    bool operator<(const Transit& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  template <typename T>
  T pick(std::initializer_list<T> from) {
    return *(from.begin() + below(static_cast<uint32_t>(from.size())));
  }

  void plan(uint32_t index) {
    auto c = std::make_unique<Conversation>(
        Conversation{.index = index, .peer = Peer(key_of(index), random_(), below(2) == 0 ? 1460 : 536)});
    c->start = host_.now + below(200) * kMs;
    c->dial = pick<tcp::Time>({0, 0, 20 * kMs, 1500 * kMs, 5 * kSecond});
    c->verdict = below(10) == 0 ? static_cast<int>(1 + below(3)) : 0;
    c->up = below(pick<uint32_t>({1, 100, 5'000, 30'000, 30'000, 150'000}));
    c->down = below(pick<uint32_t>({1, 100, 5'000, 30'000, 30'000, 150'000}));
    c->up_end_waits = below(2) == 0;
    c->down_end_waits = !c->up_end_waits && below(2) == 0;
    if (below(10) == 0) c->app_abort = c->start + below(3000) * kMs;
    if (below(10) == 0) c->stack_abort = c->start + below(3000) * kMs;
    c->read_step = 1 + below(pick<uint32_t>({3'000, 70'000, 1'000'000}));
    c->write_step = 1 + below(pick<uint32_t>({3'000, 70'000}));
    c->read_pause = pick<tcp::Time>({0, 0, kMs, 30 * kMs});
    c->write_pause = pick<tcp::Time>({0, 0, kMs, 30 * kMs});
    c->peer.set_receive_room(pick<uint32_t>({2'000, 65'535, 600'000}));
    all_.push_back(std::move(c));
  }

  static tcp::FlowKey key_of(uint32_t index) {
    tcp::FlowKey key;
    key.family = index % 3 == 2 ? 6 : 4;
    key.source = {10, 0, 0, 1};
    key.destination = {192, 0, 2, static_cast<uint8_t>(1 + index % 200)};
    key.source_port = static_cast<uint16_t>(30'000 + index);
    key.destination_port = 443;
    return key;
  }

  static bool over(const Conversation& c) {
    const bool read = !c.peer.was_finished() || c.peer.at_end();
    return c.started && c.peer.over() && read && (c.flow == 0 || c.closed) && c.app_abort == tcp::kNever;
  }

  // What the two programs at the ends do at this moment.
  void step(Conversation& c) {
    const tcp::Time now = host_.now;
    if (!c.started && now >= c.start) {
      c.started = true;
      c.peer.connect(now);
    }
    if (!c.started) return;
    if (now >= c.app_abort) {
      c.app_abort = tcp::kNever;
      if (!c.peer.over()) {
        c.peer.abort();
        c.aborted = true;
      }
    }
    c.next_app = tcp::kNever;
    if (c.peer.established() || c.peer.was_finished()) app(c);
    c.next_stack = tcp::kNever;
    if (c.flow != 0 && !c.closed) upstream(c);
    send(c.peer.output(now), true);
  }

  void app(Conversation& c) {
    const tcp::Time now = host_.now;
    bool more = false;
    if (c.up_written < c.up && c.peer.unsent() < 100'000) {
      Bytes data(std::min(c.write_step, c.up - c.up_written));
      for (auto& byte : data) byte = byte_at(c.index, true, c.up_written++);
      c.peer.write(data);
      more = true;
    }
    const Bytes got = c.peer.read(c.read_step);
    for (const uint8_t byte : got)
      require(byte == byte_at(c.index, false, c.down_read++), "a byte down is wrong");
    more |= !got.empty();
    if (c.up_written == c.up && (!c.up_end_waits || c.peer.at_end())) c.peer.end();
    if (c.peer.at_end()) require(c.down_read == c.down, "the end down came early");
    if (more || c.up_written < c.up) c.next_app = now + std::max(c.read_pause, tcp::Time{500});
  }

  void upstream(Conversation& c) {
    const tcp::Time now = host_.now;
    tcp::Stack& stack = host_.stack;
    if (!c.answered) {
      if (now < c.start + c.dial) {
        c.next_stack = c.start + c.dial;
        return;
      }
      c.answered = true;
      if (c.verdict == 0) stack.accept(c.flow);
      if (c.verdict == 1) stack.reject(c.flow, tcp::Reject::kRefused);
      if (c.verdict == 2) stack.reject(c.flow, tcp::Reject::kHostUnreachable);
      if (c.verdict == 3) c.peer.give_up(now + 10 * kSecond);
      take_events();
      if (c.closed) return;
    }
    if (c.verdict != 0) return;
    if (now >= c.stack_abort) {
      c.stack_abort = tcp::kNever;
      c.aborted = true;
      stack.abort(c.flow);
      take_events();
      return;
    }
    if (c.stack_abort != tcp::kNever) c.next_stack = c.stack_abort;
    bool more = false;
    if (c.down_written < c.down) {
      Bytes data(std::min(c.write_step, c.down - c.down_written));
      const size_t from = c.down_written;
      for (size_t i = 0; i < data.size(); ++i) data[i] = byte_at(c.index, false, from + i);
      c.down_written += data.size();
      stack.write(c.flow, data.data(), data.size());
      more = true;
    }
    const Bytes got = host_.take(c.flow, c.read_step);
    for (const uint8_t byte : got) require(byte == byte_at(c.index, true, c.up_read++), "a byte up is wrong");
    more |= !got.empty();
    if (stack.ended(c.flow) && !c.up_ended) {
      c.up_ended = true;
      require(c.up_read == c.up, "the end up came early");
    }
    if (c.down_written == c.down && (!c.down_end_waits || c.up_ended) && !c.down_end_called) {
      c.down_end_called = true;
      stack.end(c.flow);
    }
    take_events();
    if (more && !c.closed)
      c.next_stack = std::min(c.next_stack, now + std::max(c.write_pause, tcp::Time{500}));
  }

  void take_events() {
    for (const Seen& seen : host_.events) {
      if (seen.kind == Seen::Kind::kOpened) {
        Conversation& c = *all_.at(seen.key.source_port - 30'000u);
        require(c.flow == 0 || c.closed, "a second flow for one connect");
        // A SYN that was still on its way when its flow ended: nobody waits for an answer.
        if (c.flow != 0) {
          strays_.push_back(seen.flow);
          continue;
        }
        c.flow = seen.flow;
        c.next_stack = host_.now;
      } else {
        for (auto& c : all_) {
          if (c->flow != seen.flow || c->closed) continue;
          if (seen.kind == Seen::Kind::kReadable) c->next_stack = host_.now;
          if (seen.kind == Seen::Kind::kClosed) {
            c->closed = true;
            c->end = seen.end;
            if (seen.end == tcp::End::kFinished) {
              require(c->up_read == c->up && c->down_written == c->down, "finished before all was done");
            }
          }
        }
      }
    }
    host_.events.clear();
    for (const tcp::FlowId flow : strays_) host_.stack.reject(flow, tcp::Reject::kRefused);
    strays_.clear();
    host_.events.clear();
  }

  void pump() {
    take_events();
    packet::OutPacket out;
    while (host_.stack.output(out, host_.now)) {
      const Bytes packet = flatten(out);
      require(dissect(packet).good, "a packet of the stack is malformed");
      send({packet}, false);
    }
    host_.stack.collect();
  }

  void send(std::vector<Bytes> packets, bool up) {
    for (Bytes& packet : packets) {
      const int times = below(100) < copies_ ? 2 : 1;
      for (int i = 0; i < times; ++i) {
        if (below(100) < loss_) continue;
        Bytes copy = packet;
        if (below(100) < corrupt_) {
          const uint32_t flips = 1 + below(3);
          for (uint32_t k = 0; k < flips; ++k)
            copy[below(static_cast<uint32_t>(copy.size()))] ^= static_cast<uint8_t>(1u << below(8));
        }
        // One flip is always found; three may cancel out, and then the segment is another, good one.
        if (copy != packet && intact(copy, up)) continue;
        const tcp::Time delay = 10 + (jitter_ == 0 ? 0 : below(static_cast<uint32_t>(jitter_)));
        link_.push({host_.now + delay, order_++, up, std::move(copy)});
      }
    }
  }
  bool intact(const Bytes& packet, bool up) {
    if (!up) return dissect(packet).good;
    packet::IpPacket ip;
    if (packet::parse_ip(packet.data(), packet.size(), ip) != packet::IpParse::kOk) return false;
    const uint64_t pseudo =
        packet::pseudo_header_sum(ip.family, ip.source, ip.destination, ip.protocol, ip.payload_length);
    return packet::checksum_fold(packet::checksum_add(ip.payload, ip.payload_length, pseudo)) == 0xffff;
  }

  void arrive(const Transit& transit) {
    if (transit.up) {
      host_.deliver(transit.packet, below(8) != 0);
      take_events();
      return;
    }
    const Received got = dissect(transit.packet);
    if (!got.good) return;
    if (got.protocol != packet::kProtocolTcp) {
      for (auto& c : all_) {
        if (c->peer.quoted_in(got)) c->peer.unreachable();
      }
      return;
    }
    const size_t index = got.key.source_port - 30'000u;
    require(index < all_.size(), "a packet for nobody");
    all_[index]->peer.input(got, host_.now);
  }

  void check() {
    require(host_.stack.flows() <= all_.size(), "too many flows");
    require(host_.stack.received_bytes() <= all_.size() * (size_t{limits::kReceiveWindow} + 65'536),
            "too many bytes are held");
  }

  void result(const Conversation& c) {
    if (c.peer.was_refused()) {
      require(c.verdict != 0 || c.aborted || c.flow == 0 || c.end != tcp::End::kFinished,
              "an accepted connect was refused");
      return;
    }
    if (c.verdict != 0) {
      require(!c.peer.was_finished(), "a rejected connect was finished");
      return;
    }
    const bool whole = c.up_read == c.up && c.down_read == c.down;
    if (c.aborted) return;
    // The repeats of its SYN were lost, so that the dial was cancelled as given up; then the resets were.
    if (!c.peer.was_opened() && c.end == tcp::End::kResetByApp) return;
    require(c.peer.was_finished(), "a conversation was cut without anybody's asking");
    require(whole, "bytes are missing");
    require(c.closed && c.end == tcp::End::kFinished, "a finished conversation ended otherwise");
  }

  std::mt19937_64 random_;
  Host host_;
  uint32_t loss_ = 0, copies_ = 0, corrupt_ = 0;  // percent
  tcp::Time jitter_ = 0;
  uint64_t order_ = 0;
  std::priority_queue<Transit> link_;
  std::vector<std::unique_ptr<Conversation>> all_;
  std::vector<tcp::FlowId> strays_;
};

}  // namespace

int main(int argc, char** argv) {
  const uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : argc > 1 ? 1 : 3000;
  int failed = 0;
  for (uint64_t seed = first; seed < first + count && failed < 5; ++seed) {
    try {
      Simulation(seed).run();
    } catch (const Fault& fault) {
      ++failed;
      std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), fault.what.c_str());
    }
  }
  if (failed == 0) std::printf("%llu seeds good\n", static_cast<unsigned long long>(count));
  return failed == 0 ? 0 : 1;
}
