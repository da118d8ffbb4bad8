// UDP (RFC 768) and ICMP echo (RFC 792, RFC 4443) datagrams.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packet/ip.h"
#include "packet/out.h"

namespace netproxy::packet {

enum class DatagramProtocol : uint8_t { kUdp = 1, kEcho = 2 };

// For an echo request the source port is its identifier and the destination port its sequence number.
struct Datagram {
  DatagramProtocol protocol = DatagramProtocol::kUdp;
  uint8_t family = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  Address source{};
  Address destination{};
  // Whoever cannot pass it on as it is says so (RFC 1191, RFC 8201): its sender asked for that.
  bool whole = false;
  const uint8_t* payload = nullptr;
  size_t payload_length = 0;
};

enum class DatagramParse { kOk, kMalformed, kOther };

// Reads a UDP datagram or an echo request. `vouched`: the kernel answers for the checksum. `kOther`: some
// other protocol or kind of ICMP message.
DatagramParse parse_datagram(const IpPacket& ip, bool vouched, Datagram& out);

// The largest payload of an answer, over either family.
inline constexpr size_t kDatagramPayload = 65535 - kIp6Header - 8;

// The answer to `request`: back to its source, as if by its destination. `out` refers to `payload`.
void finish_answer(OutPacket& out, const Datagram& request, const uint8_t* payload, size_t length);

// Why a datagram cannot be delivered; the numbers are those of src/engine/events.ts.
enum class Refusal : uint8_t { kPort = 0, kNetwork = 1, kHost = 2, kProhibited = 3, kTooBig = 4 };

// ICMP for a datagram that cannot be delivered. `mtu`, with kTooBig: of the path, as the sender's family
// counts it.
void finish_refusal(OutPacket& out, const Datagram& request, Refusal why, uint32_t mtu);

}  // namespace netproxy::packet
