// Any bytes as an IP packet: nothing is read beyond them, and what is accepted lies within them. The bytes
// are also taken as a row of packets, each after its length, that meet one reassembly.
#include <algorithm>
#include <cstdlib>

#include "packet/datagram.h"
#include "packet/ip.h"
#include "packet/reassembly.h"
#include "wire.h"

using namespace netproxy;

namespace {

void reassemble(const uint8_t* data, size_t size) {
  packet::Reassembly reassembly;
  uint64_t now = 0;
  for (size_t at = 0; at + 2 <= size;) {
    const size_t length = std::min<size_t>(size - at - 2, size_t{data[at]} << 4 | data[at + 1] >> 4);
    now += uint64_t{data[at + 1] & 0x0fu} * 1'000'000;
    const test::Bytes packet(data + at + 2, data + at + 2 + length);
    at += 2 + length;
    packet::IpPacket ip;
    if (packet::parse_ip(packet.data(), packet.size(), ip) != packet::IpParse::kFragment) continue;
    const auto* const whole = reassembly.take(ip, now);
    if (whole == nullptr) continue;
    packet::IpPacket made;
    if (packet::parse_ip(whole->data(), whole->size(), made) == packet::IpParse::kOk &&
        made.length != whole->size())
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  reassemble(data, size);
  // Exactly as large, so that the sanitizer sees each byte too many.
  const test::Bytes packet(data, data + size);
  packet::IpPacket ip;
  const packet::IpParse result = packet::parse_ip(packet.data(), packet.size(), ip);
  if (result == packet::IpParse::kMalformed) return 0;
  if (ip.family != 4 && ip.family != 6) std::abort();
  if (ip.length > size) std::abort();
  if (ip.payload < packet.data() || ip.payload + ip.payload_length > packet.data() + ip.length) std::abort();
  packet::Datagram datagram;
  if (packet::parse_datagram(ip, true, datagram) == packet::DatagramParse::kOk) {
    if (datagram.payload < ip.payload ||
        datagram.payload + datagram.payload_length > packet.data() + ip.length)
      std::abort();
  }
  packet::parse_datagram(ip, false, datagram);
  return 0;
}
