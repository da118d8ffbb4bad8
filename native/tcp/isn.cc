#include "tcp/isn.h"

#include <bit>
#include <cstring>

namespace netproxy::tcp {

namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void compress(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

uint64_t word_at(const packet::Address& address, size_t at) {
  uint64_t word;
  std::memcpy(&word, address.data() + at, 8);
  return word;
}

}  // namespace

uint64_t hash(const HashKey& secret, const FlowKey& key) {
  SipState state{secret.k0 ^ 0x736f6d6570736575ULL, secret.k1 ^ 0x646f72616e646f6dULL,
                 secret.k0 ^ 0x6c7967656e657261ULL, secret.k1 ^ 0x7465646279746573ULL};
  state.compress(word_at(key.source, 0));
  state.compress(word_at(key.source, 8));
  state.compress(word_at(key.destination, 0));
  state.compress(word_at(key.destination, 8));
  constexpr uint64_t kLength = 37;  // bytes hashed, in the top byte of the last word
  state.compress((kLength << 56) | (uint64_t{key.family} << 32) | (uint64_t{key.source_port} << 16) |
                 key.destination_port);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace netproxy::tcp
