// TCP header (RFC 9293, 3.1) and the options that we use (MSS, window scale: RFC 7323).
#pragma once

#include <cstddef>
#include <cstdint>

#include "packet/ip.h"

namespace netproxy::packet {

inline constexpr size_t kTcpHeader = 20;

inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kRst = 0x04;
inline constexpr uint8_t kPsh = 0x08;
inline constexpr uint8_t kAck = 0x10;

struct TcpSegment {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint8_t flags = 0;
  uint16_t window = 0;    // as on the wire, not scaled
  uint16_t mss = 0;       // 0: option absent
  int window_scale = -1;  // -1: option absent
  const uint8_t* payload = nullptr;
  size_t payload_length = 0;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Parses header and options; checks no checksum. False when malformed.
bool parse_tcp(const uint8_t* data, size_t length, TcpSegment& out);

struct TcpFields {
  uint16_t source_port;
  uint16_t destination_port;
  uint32_t sequence;
  uint32_t acknowledgement;
  uint8_t flags;
  uint16_t window;
  uint16_t mss;      // 0: no option
  int window_scale;  // -1: no option
};

// Writes header and options, checksum field zero; returns its size (20 to 28 bytes).
size_t write_tcp_header(uint8_t* out, const TcpFields& fields);

}  // namespace netproxy::packet
