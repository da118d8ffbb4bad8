// A packet on its way out: headers of our own, payload in place.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "packet/ip.h"
#include "packet/tcp.h"

namespace netproxy::packet {

// struct virtio_net_hdr (linux/virtio_net.h; its header is not valid C++):
//   u8 flags, u8 gso_type, le16 hdr_len, le16 gso_size, le16 csum_start, le16 csum_offset
// In host byte order on a TUN without TUNSETVNETLE.
inline constexpr size_t kVnetHeader = 10;
inline constexpr uint8_t kVnetNeedsChecksum = 1;
inline constexpr uint8_t kVnetDataValid = 2;
inline constexpr uint8_t kVnetGsoNone = 0;
inline constexpr uint8_t kVnetGsoTcp4 = 1;
inline constexpr uint8_t kVnetGsoTcp6 = 4;
inline constexpr uint8_t kVnetGsoUdp = 5;  // VIRTIO_NET_HDR_GSO_UDP_L4: datagrams of gso_size bytes each
inline constexpr size_t kVnetGsoTypeAt = 1;
inline constexpr size_t kVnetGsoSizeAt = 4;

struct OutPacket {
  static constexpr size_t kHeadBytes = 128;
  static constexpr int kPieces = 4;

  // vnet header, IP header, L4 header (and, for control packets, the whole payload).
  uint8_t head[kHeadBytes];
  size_t head_length = 0;
  iovec pieces[kPieces];
  int piece_count = 0;
  size_t payload_length = 0;
};

// Fills the head for a TCP segment whose `pieces` and `payload_length` are set. A payload above
// `segment_size` is left to the kernel to cut (GSO); the checksum is left to it as well.
void finish_tcp(OutPacket& out, uint8_t family, const Address& source, const Address& destination,
                const TcpFields& fields, uint16_t segment_size);

// ICMP "destination unreachable" (RFC 792, RFC 4443) with `code`, quoting the packet at `quoted` as
// far as it fits; sent as if by the packet's destination. `rest` is the header's second word.
void finish_unreachable(OutPacket& out, uint8_t family, const Address& source, const Address& destination,
                        uint8_t type, uint8_t code, const uint8_t* quoted, size_t quoted_length,
                        uint32_t rest = 0);

}  // namespace netproxy::packet
