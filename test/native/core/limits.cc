// Bounds: at each, new flows are refused and counted, and existing ones go on.
#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

// A SYN from the n-th application socket to the n-th target.
tcp::FlowKey key_of(uint32_t source, uint32_t target) {
  tcp::FlowKey key;
  key.family = 4;
  key.source = {10, 0, static_cast<uint8_t>(source >> 24), static_cast<uint8_t>(source >> 16)};
  key.source_port = static_cast<uint16_t>(source);
  key.destination = {192, 0, static_cast<uint8_t>(target >> 8), static_cast<uint8_t>(target)};
  key.destination_port = 443;
  return key;
}

Bytes syn(const tcp::FlowKey& key) {
  return build(key, {.sequence = 1, .flags = packet::kSyn, .window = 65535});
}

void forget_packets(Host& host) {
  packet::OutPacket out;
  while (host.stack.output(out, host.now)) {
  }
}

// Opens and accepts a flow; returns its number and the initial sequence number of our side.
tcp::FlowId establish(Host& host, const tcp::FlowKey& key, uint32_t& iss) {
  host.deliver(syn(key));
  const tcp::FlowId flow = host.events.back().flow;
  host.stack.accept(flow);
  Received got;
  REQUIRE(host.next(got));
  iss = got.segment.sequence;
  host.deliver(
      build(key, {.sequence = 2, .acknowledgement = iss + 1, .flags = packet::kAck, .window = 65535}));
  return flow;
}

}  // namespace

TEST_CASE("one target cannot take the places of all pending dials") {
  Host host;
  for (uint32_t i = 0; i < limits::kPendingDialsPerTarget + 10; ++i) host.deliver(syn(key_of(i, 1)));
  CHECK(host.stack.pending_dials() == limits::kPendingDialsPerTarget);
  CHECK(host.stack.counters().syns_dropped == 10);
  CHECK(host.stack.counters().syns_dropped_target == 10);
  host.deliver(syn(key_of(0, 2)));
  CHECK(host.stack.pending_dials() == limits::kPendingDialsPerTarget + 1);
  // Each way out of dialling gives the place back.
  host.stack.accept(host.events[0].flow);
  host.stack.reject(host.events[1].flow, tcp::Reject::kRefused);
  host.stack.abort(host.events[2].flow);
  host.deliver(build(key_of(3, 1), {.sequence = 2, .flags = packet::kRst}));
  for (uint32_t i = 0; i < 5; ++i) host.deliver(syn(key_of(70'000 + i, 1)));
  CHECK(host.stack.counters().syns_dropped == 11);
  host.now += 60 * kSecond;
  host.stack.advance(host.now);
  CHECK(host.stack.pending_dials() == 0);
}

TEST_CASE("pending dials and flows are bounded in total") {
  Host host;
  uint32_t source = 0;
  for (uint32_t i = 0; i < limits::kPendingDials + 5; ++i, ++source)
    host.deliver(syn(key_of(source, source % 5000)));
  CHECK(host.stack.pending_dials() == limits::kPendingDials);
  CHECK(host.stack.counters().syns_dropped == 5);
  CHECK(host.stack.counters().syns_dropped_target == 0);
  const std::vector<Seen> first = host.events;
  for (const Seen& seen : first) host.stack.accept(seen.flow);
  CHECK(host.stack.pending_dials() == 0);
  for (uint32_t i = 0; i < limits::kFlows; ++i, ++source) host.deliver(syn(key_of(source, source % 5000)));
  CHECK(host.stack.flows() == limits::kFlows);
  CHECK(host.stack.counters().syns_dropped == 5 + limits::kPendingDials);
  const std::vector<Seen> all = host.events;
  for (const Seen& seen : all) host.stack.abort(seen.flow);
  forget_packets(host);
  CHECK(host.clean());
}

TEST_CASE("SYNs are dropped while events pile up, existing flows go on") {
  Host host;
  uint32_t iss;
  const tcp::FlowKey key = key_of(1, 1);
  const tcp::FlowId flow = establish(host, key, iss);
  host.is_crowded = true;
  host.deliver(syn(key_of(2, 1)));
  CHECK(host.stack.flows() == 1);
  CHECK(host.stack.counters().syns_dropped == 1);
  host.deliver(
      build(key, {.sequence = 2, .acknowledgement = iss + 1, .flags = packet::kAck, .payload = {'x'}}));
  CHECK(host.take(flow) == Bytes{'x'});
}

TEST_CASE("control packets are bounded, and the rest is counted") {
  Host host;
  for (uint32_t i = 0; i < limits::kControlQueue + 7; ++i) {
    host.deliver(build(key_of(i, 1), {.sequence = 1, .acknowledgement = 5, .flags = packet::kAck}));
  }
  CHECK(host.stack.counters().control_dropped == 7);
  size_t sent = 0;
  Received got;
  while (host.next(got)) ++sent;
  CHECK(sent == limits::kControlQueue);
}

TEST_CASE("the number of a closed flow stays unused for long") {
  Host host;
  host.deliver(syn(key_of(1, 1)));
  const tcp::FlowId first = host.events[0].flow;
  host.stack.abort(first);
  for (uint32_t i = 0; i < 100'000; ++i) {
    host.deliver(syn(key_of(i, 1)));
    const tcp::FlowId flow = host.events.back().flow;
    REQUIRE(flow != first);
    REQUIRE(flow != 0);
    host.stack.abort(flow);
    host.events.clear();
    forget_packets(host);
  }
  CHECK(host.clean());
}

TEST_CASE("timers of closed flows don't pile up") {
  Host host;
  for (uint32_t i = 0; i < 20'000; ++i) {
    uint32_t iss;
    const tcp::FlowId flow = establish(host, key_of(i, i % 500), iss);
    host.stack.abort(flow);
    forget_packets(host);
    host.now += 10 * kMs;
    host.stack.advance(host.now);
  }
  host.now += limits::kKeepaliveSweepUs;
  host.stack.advance(host.now);
  CHECK(host.stack.next_deadline() == tcp::kNever);
}

TEST_CASE("when stalled flows hold the memory budget, others go on by their reserve") {
  Host host(65'520);
  const Bytes chunk(60'000, 'x');
  struct Sender {
    tcp::FlowKey key;
    tcp::FlowId flow;
    uint32_t iss;
    uint32_t sequence = 2;
    uint32_t edge = 2 + 65'535;
  };
  // As much of `chunk` as the window takes; the number of bytes that were acknowledged.
  const auto push = [&](Sender& s) {
    const uint32_t room = s.edge - s.sequence;
    Bytes part(chunk.begin(), chunk.begin() + std::min<uint32_t>(room, 60'000));
    const uint32_t at = part.empty() ? s.sequence - 1 : s.sequence;
    host.deliver(build(s.key, {.sequence = at,
                               .acknowledgement = s.iss + 1,
                               .flags = packet::kAck,
                               .window = 65535,
                               .payload = part}));
    const uint32_t before = s.sequence;
    Received got;
    while (host.next(got)) {
      s.sequence = got.segment.acknowledgement;
      s.edge = s.sequence + (uint32_t{got.segment.window} << limits::kWindowScale);
    }
    return s.sequence - before;
  };
  const auto open = [&](uint32_t n) {
    Sender s{.key = key_of(n, n)};
    host.deliver(build(
        s.key,
        {.sequence = 1, .flags = packet::kSyn, .window = 65535, .options = {2, 4, 0xff, 0xd7, 3, 3, 7}}));
    s.flow = host.events.back().flow;
    host.stack.accept(s.flow);
    Received got;
    REQUIRE(host.next(got));
    s.iss = got.segment.sequence;
    host.deliver(
        build(s.key, {.sequence = 2, .acknowledgement = s.iss + 1, .flags = packet::kAck, .window = 65535}));
    return s;
  };
  Sender active = open(1);
  REQUIRE(push(active) == 60'000);  // it has been offered a whole window
  host.take(active.flow);
  std::vector<Sender> hogs;
  for (uint32_t i = 0; i < 400; ++i) {
    hogs.push_back(open(100 + i));
    for (int k = 0; k < 30; ++k) push(hogs.back());
  }
  const size_t bound = limits::kReceiveTotalBytes + 402 * (limits::kReceiveReserve + 65'536);
  CHECK(host.stack.received_bytes() >= limits::kReceiveTotalBytes);
  CHECK(host.stack.received_bytes() <= bound);
  CHECK(host.slabs.in_use() < limits::kSlabs);

  size_t moved = 0;
  for (int i = 0; i < 200; ++i) {
    moved += push(active);
    host.take(active.flow);
  }
  CHECK(moved > 200 * limits::kReceiveReserve / 4);
  CHECK(host.stack.counters().over_budget > 0);

  // A stalled flow whose reader comes back is not stuck either.
  host.take(hogs.back().flow);
  size_t more = 0;
  for (int i = 0; i < 50; ++i) {
    more += push(hogs.back());
    host.take(hogs.back().flow);
  }
  CHECK(more > 0);
  for (const Sender& s : hogs) host.stack.abort(s.flow);
  CHECK(push(active) > 0);
  host.take(active.flow);
  CHECK(push(active) >= 16'000);
  host.stack.abort(active.flow);
  forget_packets(host);
  CHECK(host.clean());
}
