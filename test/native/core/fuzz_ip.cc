// Any bytes as an IP packet: nothing is read beyond them, and what is accepted lies within them.
#include <cstdlib>

#include "packet/datagram.h"
#include "packet/ip.h"
#include "wire.h"

using namespace netproxy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Exactly as large, so that the sanitizer sees each byte too many.
  const test::Bytes packet(data, data + size);
  packet::IpPacket ip;
  const packet::IpParse result = packet::parse_ip(packet.data(), packet.size(), ip);
  if (result == packet::IpParse::kMalformed) return 0;
  if (ip.family != 4 && ip.family != 6) std::abort();
  if (ip.length > size) std::abort();
  if (result == packet::IpParse::kFragment && ip.payload == nullptr) return 0;
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
