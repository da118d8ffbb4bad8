#include "packet/tcp.h"

#include <algorithm>
#include <cstring>

#include "packet/bytes.h"

namespace netproxy::packet {

namespace {

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionMss = 2;
constexpr uint8_t kOptionWindowScale = 3;
constexpr int kWindowScaleMax = 14;  // RFC 7323, 2.3

// kind (1 byte) [length (1 byte, counts kind and itself) data]. A broken option ends the walk: the
// segment is still good without options (RFC 9293, 3.1: "a TCP must be prepared").
void parse_options(const uint8_t* option, const uint8_t* end, TcpSegment& out) {
  while (option < end) {
    if (*option == kOptionEnd) return;
    if (*option == kOptionNop) {
      ++option;
      continue;
    }
    if (end - option < 2) return;
    const uint8_t length = option[1];
    if (length < 2 || length > end - option) return;
    if (*option == kOptionMss && length == 4) out.mss = get16(option + 2);
    if (*option == kOptionWindowScale && length == 3) {
      out.window_scale = std::min<int>(option[2], kWindowScaleMax);
    }
    option += length;
  }
}

}  // namespace

//  |          Source Port          |       Destination Port        |
//  |                        Sequence Number                        |
//  |                    Acknowledgment Number                      |
//  |Offset | Rsrvd |C E U A P R S F|            Window             |
//  |           Checksum            |         Urgent Pointer        |
//  |                           [Options]                           |
bool parse_tcp(const uint8_t* data, size_t length, TcpSegment& out) {
  if (length < kTcpHeader) return false;
  const size_t header = size_t{static_cast<uint8_t>(data[12] >> 4)} * 4;
  if (header < kTcpHeader || header > length) return false;
  out.source_port = get16(data);
  out.destination_port = get16(data + 2);
  out.sequence = get32(data + 4);
  out.acknowledgement = get32(data + 8);
  out.flags = data[13];
  out.window = get16(data + 14);
  out.payload = data + header;
  out.payload_length = length - header;
  parse_options(data + kTcpHeader, data + header, out);
  return true;
}

size_t write_tcp_header(uint8_t* out, const TcpFields& fields) {
  size_t size = kTcpHeader;
  std::memset(out, 0, kTcpHeader);
  if (fields.mss != 0) {
    out[size] = kOptionMss;
    out[size + 1] = 4;
    put16(out + size + 2, fields.mss);
    size += 4;
  }
  if (fields.window_scale >= 0) {
    out[size] = kOptionNop;
    out[size + 1] = kOptionWindowScale;
    out[size + 2] = 3;
    out[size + 3] = static_cast<uint8_t>(fields.window_scale);
    size += 4;
  }
  put16(out, fields.source_port);
  put16(out + 2, fields.destination_port);
  put32(out + 4, fields.sequence);
  put32(out + 8, fields.acknowledgement);
  out[12] = static_cast<uint8_t>((size / 4) << 4);
  out[13] = fields.flags;
  put16(out + 14, fields.window);
  return size;
}

}  // namespace netproxy::packet
