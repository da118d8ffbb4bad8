// Any bytes as a TCP segment; what is accepted is written again and read back the same.
#include <cstdlib>

#include "packet/tcp.h"
#include "wire.h"

using namespace netproxy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const test::Bytes bytes(data, data + size);
  packet::TcpSegment segment;
  if (!packet::parse_tcp(bytes.data(), bytes.size(), segment)) return 0;
  if (segment.payload + segment.payload_length != bytes.data() + size) std::abort();
  if (segment.window_scale < -1 || segment.window_scale > 14) std::abort();
  uint8_t header[60];
  const size_t length = packet::write_tcp_header(header, {.source_port = segment.source_port,
                                                          .destination_port = segment.destination_port,
                                                          .sequence = segment.sequence,
                                                          .acknowledgement = segment.acknowledgement,
                                                          .flags = segment.flags,
                                                          .window = segment.window,
                                                          .mss = segment.mss,
                                                          .window_scale = segment.window_scale});
  packet::TcpSegment again;
  if (!packet::parse_tcp(header, length, again) || again.payload_length != 0) std::abort();
  if (again.sequence != segment.sequence || again.acknowledgement != segment.acknowledgement ||
      again.flags != segment.flags || again.window != segment.window || again.mss != segment.mss ||
      again.window_scale != segment.window_scale || again.source_port != segment.source_port) {
    std::abort();
  }
  return 0;
}
