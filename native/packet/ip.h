// IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace netproxy::packet {

inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmp6 = 58;

inline constexpr size_t kIp4Header = 20;
inline constexpr size_t kIp6Header = 40;

// IPv4 addresses stand in the first four bytes, the others are zero.
using Address = std::array<uint8_t, 16>;

struct IpPacket {
  uint8_t family = 0;  // 4 or 6
  uint8_t protocol = 0;
  Address source{};
  Address destination{};
  const uint8_t* start = nullptr;  // first byte of the IP header
  size_t length = 0;               // of the whole IP packet
  const uint8_t* payload = nullptr;
  size_t payload_length = 0;

  bool dont_fragment = false;  // of IPv4; IPv6 is never fragmented on its way

  // Of a fragment: `payload` is its part of the whole payload, and `protocol` what the whole begins with.
  uint32_t fragment_id = 0;
  size_t fragment_offset = 0;  // bytes
  bool more_fragments = false;

  bool multicast_or_broadcast() const {
    if (family == 6) return destination[0] == 0xff;
    return destination[0] >= 224;
  }
};

enum class IpParse { kOk, kMalformed, kFragment };

// Parses the headers in `data`; what follows the IP total length is not looked at. The IPv4 header
// checksum is checked; IPv6 extension headers are walked, at most eight of them.
IpParse parse_ip(const uint8_t* data, size_t length, IpPacket& out);

// The not inverted sum over the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
uint64_t pseudo_header_sum(uint8_t family, const Address& source, const Address& destination,
                           uint8_t protocol, size_t length);

// Writes an IPv4 or IPv6 header for `payload_length` bytes of `protocol`; returns its size.
size_t write_ip_header(uint8_t* out, uint8_t family, const Address& source, const Address& destination,
                       uint8_t protocol, size_t payload_length);

}  // namespace netproxy::packet
