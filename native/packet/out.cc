#include "packet/out.h"

#include <algorithm>
#include <cstring>

#include "packet/bytes.h"
#include "packet/checksum.h"

namespace netproxy::packet {

namespace {

void put_host16(uint8_t* out, size_t value) {
  const auto narrow = static_cast<uint16_t>(value);
  std::memcpy(out, &narrow, 2);
}

constexpr size_t kTcpChecksumOffset = 16;

}  // namespace

void finish_tcp(OutPacket& out, uint8_t family, const Address& source, const Address& destination,
                const TcpFields& fields, uint16_t segment_size) {
  const size_t ip_size = family == 4 ? kIp4Header : kIp6Header;
  uint8_t* const ip = out.head + kVnetHeader;
  uint8_t* const tcp = ip + ip_size;
  const size_t tcp_size = write_tcp_header(tcp, fields);
  const size_t l4_length = tcp_size + out.payload_length;
  write_ip_header(ip, family, source, destination, kProtocolTcp, l4_length);
  out.head_length = kVnetHeader + ip_size + tcp_size;

  // With VIRTIO_NET_HDR_F_NEEDS_CSUM the field holds the pseudo-header's sum, not inverted.
  const uint16_t sum = checksum_fold(pseudo_header_sum(family, source, destination, kProtocolTcp, l4_length));
  std::memcpy(tcp + kTcpChecksumOffset, &sum, 2);

  std::memset(out.head, 0, kVnetHeader);
  out.head[0] = kVnetNeedsChecksum;
  if (out.payload_length > segment_size) {
    out.head[1] = family == 4 ? kVnetGsoTcp4 : kVnetGsoTcp6;
    put_host16(out.head + 2, ip_size + tcp_size);
    put_host16(out.head + 4, segment_size);
  }
  put_host16(out.head + 6, ip_size);
  put_host16(out.head + 8, kTcpChecksumOffset);
}

//  |     Type      |     Code      |          Checksum             |
//  |                 unused, or the MTU of the next hop            |
//  |      original IP header and the start of its payload          |
void finish_unreachable(OutPacket& out, uint8_t family, const Address& source, const Address& destination,
                        uint8_t type, uint8_t code, const uint8_t* quoted, size_t quoted_length,
                        uint32_t rest) {
  constexpr size_t kIcmpHeader = 8;
  const size_t ip_size = family == 4 ? kIp4Header : kIp6Header;
  const uint8_t protocol = family == 4 ? kProtocolIcmp : kProtocolIcmp6;
  uint8_t* const ip = out.head + kVnetHeader;
  uint8_t* const icmp = ip + ip_size;
  const size_t room = OutPacket::kHeadBytes - kVnetHeader - ip_size - kIcmpHeader;
  const size_t quote = std::min(quoted_length, room);
  const size_t length = kIcmpHeader + quote;

  std::memset(out.head, 0, kVnetHeader);
  write_ip_header(ip, family, source, destination, protocol, length);
  std::memset(icmp, 0, kIcmpHeader);
  icmp[0] = type;
  icmp[1] = code;
  put32(icmp + 4, rest);
  std::memcpy(icmp + kIcmpHeader, quoted, quote);
  const uint64_t pseudo = family == 4 ? 0 : pseudo_header_sum(family, source, destination, protocol, length);
  const uint16_t sum = static_cast<uint16_t>(~checksum_fold(checksum_add(icmp, length, pseudo)));
  std::memcpy(icmp + 2, &sum, 2);
  out.head_length = kVnetHeader + ip_size + length;
  out.piece_count = 0;
  out.payload_length = 0;
}

}  // namespace netproxy::packet
