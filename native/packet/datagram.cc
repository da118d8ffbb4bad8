#include "packet/datagram.h"

#include <cstring>

#include "packet/bytes.h"
#include "packet/checksum.h"

namespace netproxy::packet {

namespace {

constexpr size_t kHeader = 8;  // of UDP and of ICMP echo alike
constexpr uint8_t kEchoRequest = 8;
constexpr uint8_t kEchoReply = 0;
constexpr uint8_t kEcho6Request = 128;
constexpr uint8_t kEcho6Reply = 129;

uint64_t pseudo_sum(uint8_t family, const Address& source, const Address& destination, uint8_t protocol,
                    size_t length) {
  if (protocol == kProtocolIcmp) return 0;
  return pseudo_header_sum(family, source, destination, protocol, length);
}

uint8_t ip_protocol(const Datagram& datagram) {
  if (datagram.protocol == DatagramProtocol::kUdp) return kProtocolUdp;
  return datagram.family == 4 ? kProtocolIcmp : kProtocolIcmp6;
}

//  |          Source Port          |       Destination Port        |
//  |            Length             |           Checksum            |
// or
//  |     Type      |     Code      |          Checksum             |
//  |           Identifier          |        Sequence Number        |
void write_header(uint8_t* out, const Datagram& datagram, uint8_t echo_type, size_t payload_length) {
  std::memset(out, 0, kHeader);
  if (datagram.protocol == DatagramProtocol::kUdp) {
    put16(out, datagram.source_port);
    put16(out + 2, datagram.destination_port);
    put16(out + 4, static_cast<uint16_t>(kHeader + payload_length));
  } else {
    out[0] = echo_type;
    put16(out + 4, datagram.source_port);
    put16(out + 6, datagram.destination_port);
  }
}

}  // namespace

DatagramParse parse_datagram(const IpPacket& ip, bool vouched, Datagram& out) {
  const bool udp = ip.protocol == kProtocolUdp;
  const bool icmp = ip.protocol == (ip.family == 4 ? kProtocolIcmp : kProtocolIcmp6);
  if (!udp && !icmp) return DatagramParse::kOther;
  const uint8_t* const head = ip.payload;
  if (ip.payload_length < kHeader) return DatagramParse::kMalformed;
  size_t length = ip.payload_length;
  uint16_t checksum;
  std::memcpy(&checksum, head + (udp ? 6 : 2), 2);
  if (udp) {
    length = get16(head + 4);
    if (length < kHeader || length > ip.payload_length) return DatagramParse::kMalformed;
    // Zero means that there is none: legal over IPv4 only (RFC 8200, 8.1).
    if (checksum == 0) {
      if (ip.family == 6) return DatagramParse::kMalformed;
      vouched = true;
    }
  }
  if (!vouched) {
    const uint64_t pseudo = pseudo_sum(ip.family, ip.source, ip.destination, ip.protocol, length);
    if (checksum_fold(checksum_add(head, length, pseudo)) != 0xffff) return DatagramParse::kMalformed;
  }
  if (icmp && (head[0] != (ip.family == 4 ? kEchoRequest : kEcho6Request) || head[1] != 0)) {
    return DatagramParse::kOther;
  }
  out.protocol = udp ? DatagramProtocol::kUdp : DatagramProtocol::kEcho;
  out.family = ip.family;
  out.source = ip.source;
  out.destination = ip.destination;
  out.source_port = get16(head + (udp ? 0 : 4));
  out.destination_port = get16(head + (udp ? 2 : 6));
  out.whole = ip.dont_fragment;
  out.payload = head + kHeader;
  out.payload_length = length - kHeader;
  return DatagramParse::kOk;
}

void finish_answer(OutPacket& out, const Datagram& request, const uint8_t* payload, size_t length) {
  Datagram answer = request;
  if (request.protocol == DatagramProtocol::kUdp) {
    answer.source_port = request.destination_port;
    answer.destination_port = request.source_port;
  }
  const uint8_t protocol = ip_protocol(request);
  const size_t ip_size = request.family == 4 ? kIp4Header : kIp6Header;
  uint8_t* const head = out.head + kVnetHeader + ip_size;
  std::memset(out.head, 0, kVnetHeader);
  write_ip_header(out.head + kVnetHeader, request.family, request.destination, request.source, protocol,
                  kHeader + length);
  write_header(head, answer, request.family == 4 ? kEchoReply : kEcho6Reply, length);
  uint64_t sum = pseudo_sum(request.family, request.destination, request.source, protocol, kHeader + length);
  sum = checksum_add(payload, length, checksum_add(head, kHeader, sum));
  auto checksum = static_cast<uint16_t>(~checksum_fold(sum));
  if (protocol == kProtocolUdp && checksum == 0) checksum = 0xffff;
  std::memcpy(head + (protocol == kProtocolUdp ? 6 : 2), &checksum, 2);
  out.head_length = kVnetHeader + ip_size + kHeader;
  out.pieces[0] = {const_cast<uint8_t*>(payload), length};
  out.piece_count = 1;
  out.payload_length = length;
}

void finish_refusal(OutPacket& out, const Datagram& request, Refusal why, uint32_t mtu) {
  struct Message {
    uint8_t type, code;
  };
  // RFC 792, RFC 1812 (5.2.7.1); RFC 4443 (3.1, 3.2).
  static constexpr Message kIcmp[] = {{3, 3}, {3, 0}, {3, 1}, {3, 13}, {3, 4}};
  static constexpr Message kIcmp6[] = {{1, 4}, {1, 0}, {1, 3}, {1, 1}, {2, 0}};
  const bool four = request.family == 4;
  uint8_t quoted[kIp6Header + kHeader];
  const size_t ip_size = write_ip_header(quoted, request.family, request.source, request.destination,
                                         ip_protocol(request), kHeader + request.payload_length);
  write_header(quoted + ip_size, request, four ? kEchoRequest : kEcho6Request, request.payload_length);
  const Message message = (four ? kIcmp : kIcmp6)[static_cast<size_t>(why)];
  finish_unreachable(out, request.family, request.destination, request.source, message.type, message.code,
                     quoted, ip_size + kHeader, why == Refusal::kTooBig ? mtu : 0);
}

}  // namespace netproxy::packet
