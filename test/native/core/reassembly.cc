// Fragments: any order, copies, overlaps, bounds and age; against a plain model that keeps every byte.
#include "packet/reassembly.h"

#include <algorithm>
#include <random>

#include "constants.h"
#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

namespace {

Bytes noise(std::mt19937& random, size_t length) {
  Bytes bytes(length);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

packet::IpPacket fragment(uint8_t family, uint32_t id, const Bytes& payload, size_t from, size_t to) {
  packet::IpPacket ip;
  ip.family = family;
  ip.protocol = packet::kProtocolUdp;
  ip.source = {10, 0, 0, 1};
  ip.destination = {192, 0, 2, 1};
  ip.fragment_id = id;
  ip.fragment_offset = from;
  ip.more_fragments = to < payload.size();
  ip.payload = payload.data() + from;
  ip.payload_length = to - from;
  return ip;
}

void require_whole(const std::vector<uint8_t>* whole, uint8_t family, const Bytes& payload) {
  REQUIRE(whole != nullptr);
  packet::IpPacket ip;
  REQUIRE(packet::parse_ip(whole->data(), whole->size(), ip) == packet::IpParse::kOk);
  REQUIRE(ip.family == family);
  REQUIRE(ip.protocol == packet::kProtocolUdp);
  REQUIRE(ip.payload_length == payload.size());
  REQUIRE(std::equal(payload.begin(), payload.end(), ip.payload));
}

}  // namespace

TEST_CASE("fragments in any order, with copies, make the packet") {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    packet::Reassembly reassembly;
    const uint8_t family = seed % 2 == 0 ? 4 : 6;
    const Bytes payload = noise(random, 9 + random() % 65'000);
    std::vector<std::pair<size_t, size_t>> cuts;
    for (size_t at = 0; at < payload.size();) {
      const size_t to = std::min(payload.size(), at + 8 * (40 + random() % 200));
      cuts.push_back({at, to});
      at = to;
    }
    std::shuffle(cuts.begin(), cuts.end(), random);
    const std::vector<uint8_t>* whole = nullptr;
    for (size_t i = 0; i < cuts.size(); ++i) {
      REQUIRE(whole == nullptr);
      const auto copied = cuts[random() % (i + 1)];
      if (i > 0 && copied != cuts[i]) {
        REQUIRE(reassembly.take(fragment(family, 7, payload, copied.first, copied.second), i) == nullptr);
        // A copy of one that is yet to come is the one.
        if (std::find(cuts.begin(), cuts.begin() + static_cast<long>(i), copied) ==
            cuts.begin() + static_cast<long>(i))
          cuts[i] = copied;
      }
      whole = reassembly.take(fragment(family, 7, payload, cuts[i].first, cuts[i].second), i);
    }
    require_whole(whole, family, payload);
    REQUIRE(reassembly.waiting() == 0);
    REQUIRE(reassembly.bytes() == 0);
    REQUIRE(reassembly.counters().whole == 1);
  }
}

TEST_CASE("datagrams with other ids, addresses or protocols are not mixed") {
  std::mt19937 random(1);
  packet::Reassembly reassembly;
  const Bytes one = noise(random, 2000);
  const Bytes two = noise(random, 2000);
  REQUIRE(reassembly.take(fragment(4, 1, one, 0, 1000), 0) == nullptr);
  REQUIRE(reassembly.take(fragment(4, 2, two, 0, 1000), 0) == nullptr);
  auto other = fragment(4, 1, two, 1000, 2000);
  other.destination[3] = 9;
  REQUIRE(reassembly.take(other, 0) == nullptr);
  auto icmp = fragment(4, 1, two, 1000, 2000);
  icmp.protocol = packet::kProtocolIcmp;
  REQUIRE(reassembly.take(icmp, 0) == nullptr);
  require_whole(reassembly.take(fragment(4, 2, two, 1000, 2000), 0), 4, two);
  require_whole(reassembly.take(fragment(4, 1, one, 1000, 2000), 0), 4, one);
}

TEST_CASE("an overlap voids the datagram, also what comes later of it") {
  std::mt19937 random(2);
  const Bytes payload = noise(random, 4000);
  for (const auto& [from, to] :
       {std::pair<size_t, size_t>{992, 2000}, {1008, 1992}, {0, 4000}, {1000, 2008}}) {
    packet::Reassembly reassembly;
    REQUIRE(reassembly.take(fragment(6, 1, payload, 1000, 2000), 0) == nullptr);
    REQUIRE(reassembly.take(fragment(6, 1, payload, from, to), 0) == nullptr);
    REQUIRE(reassembly.take(fragment(6, 1, payload, 0, 1000), 0) == nullptr);
    REQUIRE(reassembly.take(fragment(6, 1, payload, 2000, 4000), 0) == nullptr);
    REQUIRE(reassembly.counters().voided == 1);
    REQUIRE(reassembly.bytes() == 0);
  }
}

TEST_CASE("fragments that contradict the end void the datagram") {
  std::mt19937 random(3);
  const Bytes longer = noise(random, 3000);
  const Bytes shorter(longer.begin(), longer.begin() + 2000);
  packet::Reassembly reassembly;
  reassembly.take(fragment(4, 1, shorter, 1000, 2000), 0);
  REQUIRE(reassembly.take(fragment(4, 1, longer, 2000, 3000), 0) == nullptr);
  REQUIRE(reassembly.counters().voided == 1);
  reassembly.take(fragment(4, 2, longer, 2000, 3000), 0);
  REQUIRE(reassembly.take(fragment(4, 2, shorter, 1000, 2000), 0) == nullptr);
  REQUIRE(reassembly.counters().voided == 2);
}

TEST_CASE("malformed fragments are not kept") {
  std::mt19937 random(4);
  const Bytes payload = noise(random, 3000);
  packet::Reassembly reassembly;
  REQUIRE(reassembly.take(fragment(4, 1, payload, 0, 1001), 0) == nullptr);  // no multiple of eight
  auto empty = fragment(4, 1, payload, 0, 8);
  empty.payload_length = 0;
  REQUIRE(reassembly.take(empty, 0) == nullptr);
  auto beyond = fragment(4, 1, payload, 0, 3000);
  beyond.fragment_offset = 65'528;  // "ping of death"
  REQUIRE(reassembly.take(beyond, 0) == nullptr);
  REQUIRE(reassembly.waiting() == 0);
}

TEST_CASE("age, number, bytes and pieces are bounded") {
  std::mt19937 random(5);
  const Bytes payload = noise(random, 65'000);
  packet::Reassembly reassembly;
  reassembly.take(fragment(4, 1, payload, 0, 1000), 0);
  reassembly.take(fragment(4, 2, payload, 0, 1000), 31 * kSecond);
  REQUIRE(reassembly.waiting() == 1);
  REQUIRE(reassembly.counters().expired == 1);
  for (uint32_t id = 0; id < 1000; ++id) {
    reassembly.take(fragment(4, 10 + id, payload, 0, 1000), 32 * kSecond);
    REQUIRE(reassembly.waiting() <= limits::kReassemblies);
  }
  for (uint32_t id = 0; id < 100; ++id) {
    reassembly.take(fragment(6, 10 + id, payload, 64'000, 64'800), 33 * kSecond);
    REQUIRE(reassembly.bytes() <= limits::kReassemblyBytes);
  }
  packet::Reassembly pieces;
  for (size_t at = 0; at < 65'000 - 8; at += 16) pieces.take(fragment(4, 1, payload, at, at + 8), 0);
  REQUIRE(pieces.counters().voided == 1);
  REQUIRE(pieces.bytes() == 0);
}
