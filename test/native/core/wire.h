// Packets as the tests write and read them, by code of their own: the core's parsers and checksums are
// checked against it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "packet/out.h"
#include "tcp/connection.h"

namespace netproxy::test {

using Bytes = std::vector<uint8_t>;

// RFC 1071, word by word in network order.
inline uint16_t plain_checksum(const Bytes& data) {
  uint64_t sum = 0;
  const uint8_t* const bytes = data.data();
  const size_t even = data.size() & ~size_t{1};
  for (size_t i = 0; i < even; i += 2) sum += static_cast<uint64_t>(bytes[i] << 8 | bytes[i + 1]);
  if (even < data.size()) sum += static_cast<uint64_t>(bytes[even] << 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

inline void append16(Bytes& out, uint32_t v) {
  out.push_back(static_cast<uint8_t>(v >> 8));
  out.push_back(static_cast<uint8_t>(v));
}
inline void append32(Bytes& out, uint32_t v) {
  append16(out, v >> 16);
  append16(out, v & 0xffff);
}
inline uint32_t read16(const Bytes& in, size_t at) {
  return static_cast<uint32_t>(in.at(at) << 8 | in.at(at + 1));
}
inline uint32_t read32(const Bytes& in, size_t at) { return read16(in, at) << 16 | read16(in, at + 2); }

inline void append_address(Bytes& out, const tcp::FlowKey& key, const packet::Address& address) {
  out.insert(out.end(), address.begin(), address.begin() + (key.family == 4 ? 4 : 16));
}

inline Bytes pseudo_header(const tcp::FlowKey& key, bool from_app, uint8_t protocol, size_t length) {
  Bytes out;
  append_address(out, key, from_app ? key.source : key.destination);
  append_address(out, key, from_app ? key.destination : key.source);
  append32(out, static_cast<uint32_t>(length));
  append32(out, protocol);
  return out;
}

inline Bytes with_ip_header(const tcp::FlowKey& key, uint8_t protocol, const Bytes& l4) {
  Bytes out;
  if (key.family == 4) {
    append16(out, 0x4500);
    append16(out, static_cast<uint32_t>(20 + l4.size()));
    append32(out, 0x00004000);
    append16(out, 64u << 8 | protocol);
    append16(out, 0);
  } else {
    append32(out, 0x60000000);
    append16(out, static_cast<uint32_t>(l4.size()));
    append16(out, static_cast<uint32_t>(protocol << 8 | 64));
  }
  append_address(out, key, key.source);
  append_address(out, key, key.destination);
  if (key.family == 4) {
    const uint16_t sum = plain_checksum(out);
    out[10] = static_cast<uint8_t>(sum >> 8);
    out[11] = static_cast<uint8_t>(sum);
  }
  out.insert(out.end(), l4.begin(), l4.end());
  return out;
}

// A segment with absolute numbers.
struct Wire {
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint16_t urgent = 0;
  Bytes options;
  Bytes payload;
};

inline Bytes build(const tcp::FlowKey& key, const Wire& segment) {
  Bytes options = segment.options;
  while (options.size() % 4 != 0) options.push_back(0);
  Bytes l4;
  append16(l4, key.source_port);
  append16(l4, key.destination_port);
  append32(l4, segment.sequence);
  append32(l4, segment.acknowledgement);
  append16(l4, static_cast<uint32_t>((5 + options.size() / 4) << 12 | segment.flags));
  append16(l4, segment.window);
  append16(l4, 0);
  append16(l4, segment.urgent);
  l4.insert(l4.end(), options.begin(), options.end());
  l4.insert(l4.end(), segment.payload.begin(), segment.payload.end());
  Bytes summed = pseudo_header(key, true, packet::kProtocolTcp, l4.size());
  summed.insert(summed.end(), l4.begin(), l4.end());
  const uint16_t sum = plain_checksum(summed);
  l4[16] = static_cast<uint8_t>(sum >> 8);
  l4[17] = static_cast<uint8_t>(sum);
  return with_ip_header(key, packet::kProtocolTcp, l4);
}

// The packet as the kernel would see it: without the vnet header, and with the checksum that is left to
// it filled in. An empty result: the headers contradict each other.
inline Bytes flatten(const packet::OutPacket& out) {
  Bytes whole(out.head, out.head + out.head_length);
  size_t payload = 0;
  for (int i = 0; i < out.piece_count; ++i) {
    const auto* start = static_cast<const uint8_t*>(out.pieces[i].iov_base);
    whole.insert(whole.end(), start, start + out.pieces[i].iov_len);
    payload += out.pieces[i].iov_len;
  }
  if (payload != out.payload_length) return {};
  uint16_t start;
  uint16_t offset;
  std::memcpy(&start, &whole[6], 2);
  std::memcpy(&offset, &whole[8], 2);
  const bool needs_checksum = (whole[0] & packet::kVnetNeedsChecksum) != 0;
  whole.erase(whole.begin(), whole.begin() + packet::kVnetHeader);
  if (needs_checksum) {
    const uint16_t sum = plain_checksum(Bytes(whole.begin() + start, whole.end()));
    whole[size_t{start} + offset] = static_cast<uint8_t>(sum >> 8);
    whole[size_t{start} + offset + 1] = static_cast<uint8_t>(sum);
  }
  return whole;
}

struct Received {
  bool good = false;  // lengths and checksums are right
  tcp::FlowKey key;   // from the application's side: source is where the packet goes
  uint8_t protocol = 0;
  Wire segment;  // when TCP
  int mss = -1;
  int scale = -1;
  Bytes l4;
};

// Reads a packet of the stack.
inline Received dissect(const Bytes& packet) {
  Received r;
  if (packet.size() < 20) return r;
  r.key.family = packet[0] >> 4;
  if (packet[0] != 0x45 && r.key.family != 6) return r;
  const size_t header = r.key.family == 4 ? 20 : 40;
  const size_t size = r.key.family == 4 ? 4 : 16;
  const size_t at = r.key.family == 4 ? 12 : 8;
  if (packet.size() < header) return r;
  std::memcpy(r.key.destination.data(), &packet[at], size);
  std::memcpy(r.key.source.data(), &packet[at + size], size);
  if (r.key.family == 4) {
    if (read16(packet, 2) != packet.size()) return r;
    if (plain_checksum(Bytes(packet.begin(), packet.begin() + 20)) != 0) return r;
    r.protocol = packet[9];
  } else {
    if (read16(packet, 4) + 40 != packet.size()) return r;
    r.protocol = packet[6];
  }
  r.l4.assign(packet.begin() + static_cast<long>(header), packet.end());
  Bytes summed;
  if (r.protocol != packet::kProtocolIcmp) summed = pseudo_header(r.key, false, r.protocol, r.l4.size());
  summed.insert(summed.end(), r.l4.begin(), r.l4.end());
  if (plain_checksum(summed) != 0) return r;
  r.good = true;
  if (r.protocol != packet::kProtocolTcp) return r;
  const size_t data = r.l4.size() < 20 ? SIZE_MAX : size_t{r.l4[12]} / 16 * 4;
  if (data < 20 || data > r.l4.size()) {
    r.good = false;
    return r;
  }
  r.key.destination_port = static_cast<uint16_t>(read16(r.l4, 0));
  r.key.source_port = static_cast<uint16_t>(read16(r.l4, 2));
  r.segment.sequence = read32(r.l4, 4);
  r.segment.acknowledgement = read32(r.l4, 8);
  r.segment.flags = r.l4.at(13);
  r.segment.window = static_cast<uint16_t>(read16(r.l4, 14));
  for (size_t i = 20; i + 2 < data;) {
    const uint8_t kind = r.l4[i];
    if (kind == 1) {
      ++i;
      continue;
    }
    if (kind == 2 && i + 3 < data) r.mss = static_cast<int>(read16(r.l4, i + 2));
    if (kind == 3) r.scale = r.l4[i + 2];
    i += std::max<size_t>(r.l4[i + 1], 2);
  }
  r.segment.payload.assign(r.l4.begin() + static_cast<long>(data), r.l4.end());
  return r;
}

}  // namespace netproxy::test
