// A Stack with what surrounds it in the engine: slabs, the checks of the read path, and the events that
// JavaScript would see.
#pragma once

#include <string>
#include <vector>

#include "engine/slabs.h"
#include "packet/checksum.h"
#include "tcp/stack.h"
#include "wire.h"

namespace netproxy::test {

struct Seen {
  enum class Kind { kOpened, kReadable, kDrained, kClosed } kind;
  tcp::FlowId flow;
  tcp::End end = tcp::End::kFinished;
  tcp::FlowKey key{};
  bool operator==(const Seen& other) const {
    return kind == other.kind && flow == other.flow && end == other.end;
  }
};

class Host : public tcp::Events {
 public:
  explicit Host(uint16_t mtu = 1500, tcp::HashKey secret = {1, 2})
      : stack({.secret = secret, .mtu = mtu}, slabs, *this) {}

  // As Engine::input: false when the packet is refused before it reaches the stack.
  bool deliver(const Bytes& packet, bool in_slab = true) {
    uint32_t slab = in_slab ? slabs.acquire() : engine::Slabs::kNone;
    const uint8_t* data = packet.data();
    if (slab != engine::Slabs::kNone) {
      std::memcpy(slabs.at(slab), packet.data(), packet.size());
      data = slabs.at(slab);
    }
    packet::IpPacket ip;
    bool good = packet::parse_ip(data, packet.size(), ip) == packet::IpParse::kOk &&
                ip.protocol == packet::kProtocolTcp && !ip.multicast_or_broadcast();
    if (good) {
      const uint64_t pseudo =
          packet::pseudo_header_sum(ip.family, ip.source, ip.destination, ip.protocol, ip.payload_length);
      good = packet::checksum_fold(packet::checksum_add(ip.payload, ip.payload_length, pseudo)) == 0xffff;
    }
    if (good) stack.input(ip, slab, now);
    if (slab != engine::Slabs::kNone) slabs.release(slab);
    return good;
  }

  // What the stack owes, as the kernel would see it.
  bool next(Received& out) {
    packet::OutPacket packet;
    if (!stack.output(packet, now)) return false;
    out = dissect(flatten(packet));
    return true;
  }

  Bytes take(tcp::FlowId flow, size_t max = SIZE_MAX) {
    Bytes got;
    while (got.size() < max) {
      const auto view = stack.peek(flow, max - got.size());
      if (view.length == 0) break;
      got.insert(got.end(), slabs.memory() + view.offset, slabs.memory() + view.offset + view.length);
      stack.consume(flow, view.length, now);
    }
    return got;
  }

  void opened(const tcp::Connection& c) override { events.push_back({Seen::Kind::kOpened, c.id, {}, c.key}); }
  void readable(tcp::FlowId flow) override { events.push_back({Seen::Kind::kReadable, flow}); }
  void drained(tcp::FlowId flow) override { events.push_back({Seen::Kind::kDrained, flow}); }
  void closed(tcp::FlowId flow, tcp::End end) override { events.push_back({Seen::Kind::kClosed, flow, end}); }
  bool crowded() const override { return is_crowded; }

  // Nothing is left of any flow once the waiting states are over.
  bool clean() {
    stack.collect();
    return stack.flows() == 0 && stack.pending_dials() == 0 && slabs.in_use() == 0 &&
           stack.blocks_in_use() == 0 && stack.received_bytes() == 0;
  }

  engine::Slabs slabs;
  std::vector<Seen> events;
  bool is_crowded = false;
  tcp::Time now = 5'000'000;
  tcp::Stack stack;
};

}  // namespace netproxy::test
