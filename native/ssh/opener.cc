#include "ssh/opener.h"

#include <algorithm>
#include <cstring>

namespace netproxy::ssh {

Opener::Opener(const Keys& keys)
    : cipher_(PacketCipher::make(Direction::kOpen, keys)), carry_(new uint8_t[kCarryBytes]) {}

bool Opener::length_good(size_t body) const {
  const size_t block = cipher_->block();
  return body >= block && body % block == 0 && kLengthField + body + kTag <= kLargestPacket;
}

Opener::Result Opener::open(uint8_t* data, size_t at, size_t end) {
  uint8_t* packet = data + at;
  size_t body = 0;
  if (carried_ == 0 && end - at >= kLengthField) {
    body = cipher_->length(packet);
    if (!length_good(body)) return {.status = Status::kBadLength, .next = at};
    const size_t whole = kLengthField + body + kTag;
    if (end - at < whole) {
      carried_ = end - at;
      std::memcpy(carry_.get(), packet, carried_);
      return {.status = Status::kMore, .next = end};
    }
    at += whole;
  } else {
    // The packet began in an earlier read, or its length field is not whole.
    const auto take = [&](size_t until) {
      const size_t part = std::min(until - carried_, end - at);
      std::memcpy(carry_.get() + carried_, data + at, part);
      carried_ += part;
      at += part;
      return carried_ == until;
    };
    if (carried_ < kLengthField && !take(kLengthField)) return {.status = Status::kMore, .next = end};
    body = cipher_->length(carry_.get());
    if (!length_good(body)) return {.status = Status::kBadLength, .next = at};
    if (!take(kLengthField + body + kTag)) return {.status = Status::kMore, .next = end};
    packet = carry_.get();
    carried_ = 0;
  }
  if (!cipher_->open(packet, body)) return {.status = Status::kBadTag, .next = at};
  const size_t padding = packet[kLengthField];
  if (padding + 1 > body) return {.status = Status::kBadLength, .next = at};
  return {.status = Status::kPayload,
          .next = at,
          .payload = packet + kLengthField + 1,
          .payload_length = body - 1 - padding};
}

}  // namespace netproxy::ssh
