#include "packet/ip.h"

#include <algorithm>
#include <cstring>

#include "packet/bytes.h"
#include "packet/checksum.h"

namespace netproxy::packet {

namespace {

constexpr uint8_t kHopLimit = 64;
constexpr int kExtensionHeaders = 8;

//  0                   1                   2                   3
//  |Version|  IHL  |    TOS        |          Total Length         |
//  |         Identification        |Flags|      Fragment Offset    |
//  |  Time to Live |    Protocol   |         Header Checksum       |
//  |                       Source Address                          |
//  |                    Destination Address                        |
//  |                    Options                    |    Padding    |
IpParse parse_ip4(const uint8_t* data, size_t length, IpPacket& out) {
  if (length < kIp4Header) return IpParse::kMalformed;
  const size_t header = size_t{data[0] & 0x0fu} * 4;
  const size_t total = get16(data + 2);
  if (header < kIp4Header || total < header || total > length) return IpParse::kMalformed;
  if (checksum_fold(checksum_add(data, header, 0)) != 0xffff) return IpParse::kMalformed;
  out.family = 4;
  out.protocol = data[9];
  std::memcpy(out.source.data(), data + 12, 4);
  std::memcpy(out.destination.data(), data + 16, 4);
  out.start = data;
  out.length = total;
  out.payload = data + header;
  out.payload_length = total - header;
  // More-fragments flag, or an offset.
  const uint16_t fragment = get16(data + 6) & 0x3fff;
  out.dont_fragment = (get16(data + 6) & 0x4000) != 0;
  if (fragment == 0) return IpParse::kOk;
  out.fragment_id = get16(data + 4);
  out.fragment_offset = size_t{fragment & 0x1fffu} * 8;
  out.more_fragments = (fragment & 0x2000) != 0;
  return IpParse::kFragment;
}

//  |Version| Traffic Class |           Flow Label                  |
//  |         Payload Length        |  Next Header  |   Hop Limit   |
//  |                    Source Address (16 bytes)                  |
//  |                 Destination Address (16 bytes)                |
IpParse parse_ip6(const uint8_t* data, size_t length, IpPacket& out) {
  if (length < kIp6Header) return IpParse::kMalformed;
  const size_t total = kIp6Header + get16(data + 4);
  if (total > length) return IpParse::kMalformed;
  out.family = 6;
  out.dont_fragment = true;
  std::memcpy(out.source.data(), data + 8, 16);
  std::memcpy(out.destination.data(), data + 24, 16);
  out.start = data;
  out.length = total;

  uint8_t next = data[6];
  size_t at = kIp6Header;
  for (int walked = 0; walked <= kExtensionHeaders; ++walked) {
    size_t size = 0;
    switch (next) {
      case 0:   // hop-by-hop options
      case 43:  // routing
      case 60:  // destination options
        if (total - at < 8) return IpParse::kMalformed;
        size = (size_t{data[at + 1]} + 1) * 8;
        break;
      case 44: {  // fragment: next header, reserved, offset (13 bits), reserved, more-fragments,
                  // identification
        if (total - at < 8) return IpParse::kMalformed;
        const uint16_t fragment = get16(data + at + 2);
        size = 8;
        if ((fragment & 0xfff9) == 0) break;  // whole all the same (RFC 6946)
        out.protocol = data[at];
        out.fragment_id = get32(data + at + 4);
        out.fragment_offset = fragment & 0xfff8;
        out.more_fragments = (fragment & 1) != 0;
        out.payload = data + at + size;
        out.payload_length = total - at - size;
        return IpParse::kFragment;
      }
      default:
        out.protocol = next;
        out.payload = data + at;
        out.payload_length = total - at;
        return IpParse::kOk;
    }
    if (size > total - at) return IpParse::kMalformed;
    next = data[at];
    at += size;
  }
  return IpParse::kMalformed;
}

}  // namespace

IpParse parse_ip(const uint8_t* data, size_t length, IpPacket& out) {
  if (length < 1) return IpParse::kMalformed;
  switch (data[0] >> 4) {
    case 4:
      return parse_ip4(data, length, out);
    case 6:
      return parse_ip6(data, length, out);
    default:
      return IpParse::kMalformed;
  }
}

uint64_t pseudo_header_sum(uint8_t family, const Address& source, const Address& destination,
                           uint8_t protocol, size_t length) {
  const size_t size = family == 4 ? 4 : 16;
  uint64_t sum = checksum_add(source.data(), size, 0);
  sum = checksum_add(destination.data(), size, sum);
  uint8_t rest[8] = {};
  put32(rest, static_cast<uint32_t>(length));
  rest[7] = protocol;
  return checksum_add(rest, sizeof rest, sum);
}

size_t write_ip_header(uint8_t* out, uint8_t family, const Address& source, const Address& destination,
                       uint8_t protocol, size_t payload_length) {
  if (family == 4) {
    std::memset(out, 0, kIp4Header);
    out[0] = 0x45;
    put16(out + 2, static_cast<uint16_t>(kIp4Header + payload_length));
    put16(out + 6, 0x4000);  // don't fragment; so the identification may be zero (RFC 6864)
    out[8] = kHopLimit;
    out[9] = protocol;
    std::memcpy(out + 12, source.data(), 4);
    std::memcpy(out + 16, destination.data(), 4);
    const uint16_t sum = static_cast<uint16_t>(~checksum_fold(checksum_add(out, kIp4Header, 0)));
    std::memcpy(out + 10, &sum, 2);
    return kIp4Header;
  }
  std::memset(out, 0, 8);
  out[0] = 0x60;
  put16(out + 4, static_cast<uint16_t>(payload_length));
  out[6] = protocol;
  out[7] = kHopLimit;
  std::copy(source.begin(), source.end(), out + 8);
  std::copy(destination.begin(), destination.end(), out + 24);
  return kIp6Header;
}

}  // namespace netproxy::packet
