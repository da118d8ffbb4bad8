// Sequence number arithmetic (RFC 9293, 3.4): comparisons are modulo 2^32.
#pragma once

#include <cstdint>

namespace netproxy::tcp {

inline bool before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
inline bool before_or_at(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) <= 0; }
inline bool after(uint32_t a, uint32_t b) { return before(b, a); }

// Sorts numbers that lie within half the number space of each other, as those of one window do.
struct Before {
  bool operator()(uint32_t a, uint32_t b) const { return before(a, b); }
};

// start <= value < start + length
inline bool in_range(uint32_t value, uint32_t start, uint32_t length) { return value - start < length; }

}  // namespace netproxy::tcp
