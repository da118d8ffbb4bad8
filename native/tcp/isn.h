// Initial sequence numbers that nobody outside can guess (RFC 6528), and the hash of the flow table.
#pragma once

#include <cstdint>

#include "tcp/connection.h"

namespace netproxy::tcp {

struct HashKey {
  uint64_t k0;
  uint64_t k1;
};

// SipHash-2-4 (Aumasson and Bernstein, 2012) of the key's addresses and ports.
uint64_t hash(const HashKey& secret, const FlowKey& key);

// M + F(...): a clock that ticks every 4 microseconds plus the keyed hash. Under another key than the
// table's, since the application sees this one's results.
inline uint32_t initial_sequence(const HashKey& secret, const FlowKey& key, Time now) {
  return static_cast<uint32_t>(hash({~secret.k0, secret.k1}, key)) + static_cast<uint32_t>(now / 4);
}

}  // namespace netproxy::tcp
