// What the engine tells JavaScript, as records in memory that both see. src/engine/events.ts decodes
// the same layout.
//
//   offset  size
//        0     4  type (EventType)
//        4     4  flow number
//        8     4  value: for kOpened the family (4 or 6), for kClosed the End
//       12     2  source port       (kOpened)
//       14     2  destination port  (kOpened)
//       16    16  source address    (kOpened; IPv4 in the first four bytes)
//       32    16  destination address
//
// Numbers are in host byte order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packet/ip.h"

namespace netproxy::engine {

enum class EventType : uint32_t {
  kOpened = 1,
  kReadable = 2,
  kDrained = 3,
  kClosed = 4,
  kDeviceLost = 5,
  kDatagrams = 6
};

struct Event {
  EventType type;
  uint32_t flow = 0;
  uint32_t value = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  packet::Address source{};
  packet::Address destination{};
};
static_assert(sizeof(Event) == 48);

}  // namespace netproxy::engine
