#include "ssh/sealer.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "packet/bytes.h"

namespace netproxy::ssh {

namespace {

using packet::put32;

constexpr uint8_t kChannelData = 94;  // SSH_MSG_CHANNEL_DATA (RFC 4254, 5.2)
//   uint32 packet_length | byte padding_length | byte 94 | uint32 recipient channel | uint32 n | byte[n]
constexpr size_t kDataHeader = kLengthField + 1 + 1 + 4 + 4;
constexpr size_t kSmallestPadding = 4;

size_t padding_for(size_t body) {
  const size_t padding = kBlock - body % kBlock;
  return padding < kSmallestPadding ? padding + kBlock : padding;
}

}  // namespace

bool Sealer::seal(uint8_t* packet, size_t length) {
  if (length < kLengthField + kBlock + kTag) return false;
  return cipher_->seal(packet, length - kLengthField - kTag);
}

// RFC 4253, 6: "The padding SHOULD consist of random bytes". No byte is used twice.
void Sealer::pad(uint8_t* at, size_t length) {
  if (random_left_ < length) {
    // At most 256 bytes are never interrupted, more may be: ask until all are there.
    size_t have = 0;
    while (have < sizeof random_) {
      const ssize_t got = getrandom(random_ + have, sizeof random_ - have, 0);
      if (got > 0) have += static_cast<size_t>(got);
    }
    random_left_ = sizeof random_;
  }
  random_left_ -= length;
  std::memcpy(at, random_ + random_left_, length);
}

size_t Sealer::seal_payload(const uint8_t* payload, size_t length, uint8_t* out) {
  const size_t padding = padding_for(1 + length);
  const size_t body = 1 + length + padding;
  put32(out, static_cast<uint32_t>(body));
  out[kLengthField] = static_cast<uint8_t>(padding);
  std::memcpy(out + kLengthField + 1, payload, length);
  pad(out + kLengthField + 1 + length, padding);
  return cipher_->seal(out, body) ? kLengthField + body + kTag : 0;
}

Sealer::Result Sealer::seal_flow(engine::Engine& engine, tcp::FlowId flow, uint32_t channel, size_t max,
                                 size_t largest, uint8_t* out, size_t room) {
  Result result;
  while (result.moved < max) {
    const size_t overhead = kDataHeader + kBlock + kSmallestPadding + kTag;
    if (room - result.written < overhead) break;
    const size_t want = std::min({max - result.moved, largest, room - result.written - overhead});
    uint8_t* const packet = out + result.written;
    const auto got = engine.lend(flow, packet + kDataHeader, want);
    result.ended = got.ended;
    if (got.length == 0) {
      result.drained = true;
      break;
    }

    const size_t unpadded = kDataHeader - kLengthField + got.length;
    const size_t padding = padding_for(unpadded);
    const size_t body = unpadded + padding;
    put32(packet, static_cast<uint32_t>(body));
    packet[4] = static_cast<uint8_t>(padding);
    packet[5] = kChannelData;
    put32(packet + 6, channel);
    put32(packet + 10, static_cast<uint32_t>(got.length));
    pad(packet + kDataHeader + got.length, padding);
    bool sealed;
    if (got.slab == engine::Slabs::kNone) {
      sealed = cipher_->seal(packet, body);
    } else {
      sealed = cipher_->seal_around(packet, body, kDataHeader - kLengthField, got.data, got.length);
      result.ended = engine.give_back(flow, got);
    }
    if (!sealed) {
      result.failed = true;
      break;
    }
    result.written += kLengthField + body + kTag;
    result.moved += got.length;
    ++result.packets;
    if (result.ended) break;
  }
  return result;
}

}  // namespace netproxy::ssh
