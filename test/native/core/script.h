// Packet scripts: what the application's kernel sends, and what must come back, one line a segment, in
// the manner of packetdrill. Numbers are relative to each side's initial one; windows are in bytes.
#pragma once

#include <doctest/doctest.h>

#include <optional>

#include "constants.h"
#include "host.h"

namespace netproxy::test {

inline constexpr tcp::Time kMs = 1000;
inline constexpr tcp::Time kSecond = 1'000'000;

struct Seg {
  std::string flags;  // any of S A F R P U
  uint32_t seq = 0;
  uint32_t ack = 0;
  std::string data = {};
  std::optional<uint32_t> window = {};  // incoming: kWindow unless given; outgoing: looked at when given
  int mss = -1;
  int scale = -1;
  Bytes options = {};  // incoming, raw
  uint16_t urgent = 0;
};

class Script {
 public:
  static constexpr uint32_t kWindow = 64 * 1024 - 1;

  explicit Script(uint8_t family = 4, uint32_t isn = 1000, uint16_t mtu = 1500) : host(mtu), isn(isn) {
    key.family = family;
    if (family == 4) {
      key.source = {10, 0, 0, 1};
      key.destination = {192, 0, 2, 7};
    } else {
      key.source = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
      key.destination = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    }
    key.source_port = 40000;
    key.destination_port = 443;
  }

  Host host;
  tcp::FlowKey key;
  uint32_t isn;
  uint32_t iss = 0;
  int app_scale = 0;    // shift of the windows that the application sends
  int stack_scale = 0;  // and of those that it gets
  tcp::FlowId flow = 0;

  void inject(const Seg& seg) {
    Wire wire;
    wire.sequence = isn + seg.seq;
    wire.flags = bits(seg.flags);
    wire.acknowledgement = (wire.flags & packet::kAck) != 0 ? iss + seg.ack : 0;
    const int shift = (wire.flags & packet::kSyn) != 0 ? 0 : app_scale;
    wire.window = static_cast<uint16_t>(std::min<uint32_t>(seg.window.value_or(kWindow) >> shift, 65535));
    wire.urgent = seg.urgent;
    wire.options = seg.options;
    if (seg.mss >= 0) {
      wire.options.insert(wire.options.end(), {2, 4});
      append16(wire.options, static_cast<uint32_t>(seg.mss));
    }
    if (seg.scale >= 0) wire.options.insert(wire.options.end(), {3, 3, static_cast<uint8_t>(seg.scale)});
    wire.payload.assign(seg.data.begin(), seg.data.end());
    const size_t before = host.events.size();
    REQUIRE(host.deliver(build(key, wire)));
    for (size_t i = before; i < host.events.size(); ++i) {
      if (host.events[i].kind == Seen::Kind::kOpened) flow = host.events[i].flow;
    }
  }

  // The next packet is this segment, and nothing else is said about later ones.
  Received expect(const Seg& seg) {
    Received got;
    const bool any = host.next(got);
    INFO("expecting ", seg.flags, " seq ", seg.seq, " ack ", seg.ack, " bytes ", seg.data.size());
    REQUIRE_MESSAGE(any, "nothing was sent");
    REQUIRE(got.good);
    CHECK(got.key == key);
    REQUIRE(got.protocol == packet::kProtocolTcp);
    if ((got.segment.flags & packet::kSyn) != 0) {
      iss = got.segment.sequence;
      stack_scale = std::max(got.scale, 0);
    }
    CHECK(letters(got.segment.flags) == letters(bits(seg.flags)));
    // A reset for an unknown flow takes its number from the segment that it answers.
    CHECK(got.segment.sequence - iss == seg.seq);
    if ((got.segment.flags & packet::kAck) != 0) CHECK(got.segment.acknowledgement - isn == seg.ack);
    CHECK(got.segment.payload.size() == seg.data.size());
    const bool same_bytes = got.segment.payload == Bytes(seg.data.begin(), seg.data.end());
    CHECK(same_bytes);
    if (seg.window) CHECK(window_of(got) == *seg.window);
    if (seg.mss >= 0) CHECK(got.mss == seg.mss);
    return got;
  }
  uint32_t window_of(const Received& got) const {
    return uint32_t{got.segment.window} << ((got.segment.flags & packet::kSyn) != 0 ? 0 : stack_scale);
  }
  void silent() {
    Received got;
    CHECK_FALSE(host.next(got));
  }
  void drain() {
    Received got;
    while (host.next(got)) CHECK(got.good);
  }

  void advance(tcp::Time by) {
    host.now += by;
    host.stack.advance(host.now);
  }
  // Time passes until the stack sends or says something by itself; returns how much.
  tcp::Time until_deadline() {
    silent();
    const tcp::Time start = host.now;
    const size_t events = host.events.size();
    while (!host.stack.output_owed() && host.events.size() == events) {
      const tcp::Time at = host.stack.next_deadline();
      REQUIRE(at != tcp::kNever);
      advance(at > host.now ? at - host.now : 0);
    }
    return host.now - start;
  }

  void write(const std::string& data) {
    host.stack.write(flow, reinterpret_cast<const uint8_t*>(data.data()), data.size());
  }
  std::string take(size_t max = SIZE_MAX) {
    const Bytes got = host.take(flow, max);
    return {got.begin(), got.end()};
  }
  bool was_closed(tcp::End end) const {
    for (const Seen& seen : host.events) {
      if (seen == Seen{Seen::Kind::kClosed, flow, end}) return true;
    }
    return false;
  }
  size_t count(Seen::Kind kind) const {
    size_t n = 0;
    for (const Seen& seen : host.events) n += seen.kind == kind ? 1 : 0;
    return n;
  }

  // Up to ESTABLISHED; afterwards the next byte is 1 on both sides.
  void establish(const Seg& syn = {.flags = "S", .mss = 1460, .scale = 7}) {
    inject(syn);
    silent();
    host.stack.accept(flow);
    expect({.flags = "SA", .ack = 1});
    if (syn.scale >= 0) app_scale = std::min(syn.scale, 14);
    inject({.flags = "A", .seq = 1, .ack = 1, .window = syn.window});
    silent();
  }
  // TIME-WAIT ends; nothing of any flow is left.
  void finish_clean() {
    drain();
    advance(limits::kTimeWaitUs + kSecond);
    drain();
    CHECK(host.clean());
  }

  static uint8_t bits(const std::string& flags) {
    const std::string all = "FSRPAU";
    uint8_t out = 0;
    for (const char flag : flags) out |= static_cast<uint8_t>(1u << all.find(flag));
    return out;
  }
  // Without PSH, which tells nothing that a test is about.
  static std::string letters(uint8_t flags) {
    std::string out;
    const std::string all = "FSRPAU";
    for (size_t i = 0; i < all.size(); ++i) {
      if ((flags >> i & 1) != 0 && all[i] != 'P') out += all[i];
    }
    return out;
  }
};

}  // namespace netproxy::test
