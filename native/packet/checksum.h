// The Internet checksum (RFC 1071).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace netproxy::packet {

// Adds `length` bytes to a running one's complement sum. Only the last piece of a sum may have an odd
// length. The sum is in host order of 16-bit words as they lie in memory: never swap it, only fold it.
inline uint64_t checksum_add(const uint8_t* data, size_t length, uint64_t sum) {
  while (length >= 4) {
    uint32_t word;
    std::memcpy(&word, data, 4);
    sum += word;
    data += 4;
    length -= 4;
  }
  if (length >= 2) {
    uint16_t word;
    std::memcpy(&word, data, 2);
    sum += word;
    data += 2;
    length -= 2;
  }
  if (length == 1) {
    uint16_t word = 0;
    std::memcpy(&word, data, 1);
    sum += word;
  }
  return sum;
}

// The 16-bit one's complement sum, not inverted, as it is stored in memory.
inline uint16_t checksum_fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

}  // namespace netproxy::packet
