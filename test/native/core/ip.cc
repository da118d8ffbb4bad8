// IPv6 extension headers: walked to the segment behind them, or refused.
#include "packet/ip.h"

#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kFragment = 44;
constexpr uint8_t kDestination = 60;

struct Extension {
  uint8_t kind;
  size_t size = 8;
  int said = -1;  // length that the header gives for itself, in units of 8 bytes without the first
};

// The packet with these headers between the fixed one and what was behind it.
Bytes with(const Bytes& packet, const std::vector<Extension>& extensions) {
  Bytes out(packet.begin(), packet.begin() + 40);
  const uint8_t last = packet[6];
  for (size_t i = 0; i < extensions.size(); ++i) {
    const auto& [kind, size, said] = extensions[i];
    Bytes header(size, 0);
    header[0] = i + 1 < extensions.size() ? extensions[i + 1].kind : last;
    if (kind != kFragment) header[1] = static_cast<uint8_t>(said >= 0 ? said : int(size / 8) - 1);
    out.insert(out.end(), header.begin(), header.end());
  }
  if (!extensions.empty()) out[6] = extensions[0].kind;
  out.insert(out.end(), packet.begin() + 40, packet.end());
  const size_t length = out.size() - 40;
  out[4] = static_cast<uint8_t>(length >> 8);
  out[5] = static_cast<uint8_t>(length);
  return out;
}

Bytes syn(const Script& s) {
  return build(s.key, {.sequence = s.isn, .flags = packet::kSyn, .window = 65535});
}

packet::IpParse parsed(const Bytes& packet) {
  packet::IpPacket ip;
  return packet::parse_ip(packet.data(), packet.size(), ip);
}

}  // namespace

TEST_CASE("a SYN behind IPv6 extension headers is a SYN") {
  const std::vector<std::vector<Extension>> chains = {
      {{kHopByHop}},
      {{kDestination, 24}},
      {{kHopByHop}, {kDestination}, {kRouting, 16}, {kDestination, 2048}},
      {{kFragment}},  // a fragment that is all there is (RFC 6946)
      {{kHopByHop}, {kFragment}, {kDestination}},
      std::vector<Extension>(8, {kDestination}),
  };
  for (const auto& chain : chains) {
    Script s(6);
    CHECK(s.host.deliver(with(syn(s), chain)));
    REQUIRE(s.count(Seen::Kind::kOpened) == 1);
    CHECK(s.host.events[0].key == s.key);
    s.host.stack.reject(s.host.events[0].flow, tcp::Reject::kRefused);
    s.expect({.flags = "RA", .seq = 0, .ack = 1});
  }
}

TEST_CASE("extension headers are walked to a bound, and never beyond the packet") {
  Script s(6);
  CHECK(parsed(with(syn(s), std::vector<Extension>(9, {kDestination}))) == packet::IpParse::kMalformed);
  CHECK(parsed(with(syn(s), {{kHopByHop, 8, 200}})) == packet::IpParse::kMalformed);
  CHECK(parsed(with(syn(s), {{kDestination}, {kRouting, 8, 255}})) == packet::IpParse::kMalformed);
  // Cut within every header: the length field says what is there.
  const Bytes whole = with(syn(s), {{kHopByHop}, {kFragment}, {kDestination, 16}});
  for (size_t length = 40; length < 40 + 32; ++length) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
    cut[4] = 0;
    cut[5] = static_cast<uint8_t>(length - 40);
    CHECK(parsed(cut) == packet::IpParse::kMalformed);
  }
}

TEST_CASE("what lies behind a header that is not walked is no TCP") {
  Script s(6);
  for (const uint8_t kind : {uint8_t{50}, uint8_t{51}, uint8_t{59}, uint8_t{135}}) {
    Bytes packet = with(syn(s), {{kDestination}});
    packet[40] = kind;  // ESP, AH, none, mobility
    CHECK_FALSE(s.host.deliver(packet));
  }
  CHECK(s.host.events.empty());
}
