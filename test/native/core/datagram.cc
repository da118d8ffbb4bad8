// What an application is told of a datagram that cannot be delivered.
#include "packet/datagram.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/ip.h"

namespace {

using namespace netproxy::packet;

Datagram request(uint8_t family, DatagramProtocol protocol) {
  Datagram out;
  out.protocol = protocol;
  out.family = family;
  out.source_port = 4000;
  out.destination_port = 443;
  out.source[0] = 10;
  out.destination[0] = 11;
  out.payload_length = 1300;
  return out;
}

// The ICMP message of a refusal, whose headers and checksums are checked.
std::vector<uint8_t> refusal(const Datagram& datagram, Refusal why, uint32_t mtu) {
  OutPacket out;
  finish_refusal(out, datagram, why, mtu);
  IpPacket ip;
  REQUIRE(parse_ip(out.head + kVnetHeader, out.head_length - kVnetHeader, ip) == IpParse::kOk);
  CHECK(ip.source == datagram.destination);
  CHECK(ip.destination == datagram.source);
  const bool four = datagram.family == 4;
  REQUIRE(ip.protocol == (four ? kProtocolIcmp : kProtocolIcmp6));
  const uint64_t pseudo =
      four ? 0 : pseudo_header_sum(6, ip.source, ip.destination, ip.protocol, ip.payload_length);
  CHECK(checksum_fold(checksum_add(ip.payload, ip.payload_length, pseudo)) == 0xffff);
  return {ip.payload, ip.payload + ip.payload_length};
}

}  // namespace

TEST_CASE("each refusal has the type and code that its reader knows, and quotes the datagram") {
  struct Row {
    Refusal why;
    int type4, code4, type6, code6;
  };
  constexpr Row kRows[] = {
      {Refusal::kPort, 3, 3, 1, 4},        {Refusal::kNetwork, 3, 0, 1, 0}, {Refusal::kHost, 3, 1, 1, 3},
      {Refusal::kProhibited, 3, 13, 1, 1}, {Refusal::kTooBig, 3, 4, 2, 0},
  };
  for (const Row& row : kRows) {
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      for (const auto protocol : {DatagramProtocol::kUdp, DatagramProtocol::kEcho}) {
        const Datagram datagram = request(family, protocol);
        const auto icmp = refusal(datagram, row.why, 1400);
        CHECK(icmp[0] == (family == 4 ? row.type4 : row.type6));
        CHECK(icmp[1] == (family == 4 ? row.code4 : row.code6));
        CHECK(get32(icmp.data() + 4) == (row.why == Refusal::kTooBig ? 1400 : 0));
        const size_t header = family == 4 ? kIp4Header : kIp6Header;
        REQUIRE(icmp.size() == 8 + header + 8);
        // Ports of UDP, identifier and sequence number of an echo request.
        const size_t ports = 8 + header + (protocol == DatagramProtocol::kUdp ? 0 : 4);
        CHECK(get16(icmp.data() + ports) == 4000);
        CHECK(get16(icmp.data() + ports + 2) == 443);
      }
    }
  }
}
