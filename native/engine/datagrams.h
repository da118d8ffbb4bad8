// Datagrams that wait for JavaScript, as records in memory that both see. src/engine/datagrams.ts decodes
// the same layout.
//
//   offset  size
//        0     4  length of the payload
//        4     1  protocol (packet::DatagramProtocol: 1 UDP, 2 ICMP echo)
//        5     1  family (4 or 6)
//        6     1  1 when its sender wants to be told that it is too big for the path, 0 when it may be cut
//        8     2  source port, or identifier
//       10     2  destination port, or sequence number
//       16    16  source address (IPv4 in the first four bytes)
//       32    16  destination address
//       48        payload; the next record begins at the next multiple of 8
//
// Numbers are in host byte order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "packet/datagram.h"

namespace netproxy::engine {

inline constexpr size_t kDatagramHeader = 48;

class Datagrams {
 public:
  // False when the queue is full: the datagram is dropped, those that wait keep their places.
  bool push(const packet::Datagram& datagram);
  // Moves records that fit in `room` bytes to `out`; returns how many.
  size_t take(uint8_t* out, size_t room);
  bool empty() const { return records_.empty(); }

 private:
  std::deque<std::vector<uint8_t>> records_;
  size_t bytes_ = 0;
};

// Reads a record's first kDatagramHeader bytes; false when they are none. The payload is left out.
bool read_datagram_header(const uint8_t* record, packet::Datagram& out);

}  // namespace netproxy::engine
