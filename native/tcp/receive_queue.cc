#include "tcp/receive_queue.h"

#include <algorithm>
#include <cstring>

namespace netproxy::tcp {

namespace {

// Bytes. Small payloads are joined into blocks that start at this size, so that a flow of many tiny
// writes costs one allocation for many of them.
constexpr size_t kOwnBlock = 2048;

}  // namespace

void ReceiveQueue::push(engine::Slabs& slabs, uint32_t slab, const uint8_t* data, size_t length) {
  if (length == 0) return;
  bytes_ += length;
  if (slab != engine::Slabs::kNone && length >= limits::kKeepSlabBytes && !slabs.scarce()) {
    slabs.retain(slab);
    pieces_.push_back({slab, nullptr, 0, data, length});
    return;
  }
  if (!pieces_.empty() && pieces_.back().own != nullptr) {
    Piece& last = pieces_.back();
    const size_t used = static_cast<size_t>(last.data - last.own.get()) + last.length;
    const size_t fits = std::min(length, last.capacity - used);
    std::memcpy(last.own.get() + used, data, fits);
    last.length += fits;
    data += fits;
    length -= fits;
    if (length == 0) return;
  }
  const size_t capacity = std::max(length, kOwnBlock);
  auto own = std::make_unique_for_overwrite<uint8_t[]>(capacity);
  std::memcpy(own.get(), data, length);
  const uint8_t* start = own.get();
  pieces_.push_back({engine::Slabs::kNone, std::move(own), capacity, start, length});
}

ReceiveQueue::View ReceiveQueue::peek(engine::Slabs& slabs, size_t max) const {
  if (pieces_.empty()) return {0, 0};
  const Piece& first = pieces_.front();
  if (first.slab != engine::Slabs::kNone) {
    return {static_cast<size_t>(first.data - slabs.memory()), std::min(max, first.length)};
  }
  const size_t room = std::min(max, limits::kStagingBytes);
  size_t gathered = 0;
  for (const Piece& piece : pieces_) {
    if (piece.slab != engine::Slabs::kNone || gathered == room) break;
    const size_t part = std::min(piece.length, room - gathered);
    std::memcpy(slabs.staging() + gathered, piece.data, part);
    gathered += part;
  }
  return {static_cast<size_t>(slabs.staging() - slabs.memory()), gathered};
}

ReceiveQueue::InSlab ReceiveQueue::front() const {
  if (pieces_.empty()) return {engine::Slabs::kNone, nullptr, 0};
  const Piece& first = pieces_.front();
  return {first.slab, first.data, first.length};
}

size_t ReceiveQueue::read(uint8_t* out, size_t max) const {
  size_t copied = 0;
  for (const Piece& piece : pieces_) {
    if (copied == max) break;
    const size_t part = std::min(piece.length, max - copied);
    std::memcpy(out + copied, piece.data, part);
    copied += part;
  }
  return copied;
}

void ReceiveQueue::consume(engine::Slabs& slabs, size_t length) {
  length = std::min(length, bytes_);
  bytes_ -= length;
  while (length > 0) {
    Piece& first = pieces_.front();
    if (length < first.length) {
      first.data += length;
      first.length -= length;
      return;
    }
    length -= first.length;
    if (first.slab != engine::Slabs::kNone) slabs.release(first.slab);
    pieces_.pop_front();
  }
}

}  // namespace netproxy::tcp
