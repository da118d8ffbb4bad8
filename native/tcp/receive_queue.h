// Payload that the application has sent and that nobody has taken yet, in order.
//
// A piece lies either in a slab (shared with JavaScript, not copied) or in memory of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/slabs.h"
#include "tcp/fifo.h"

namespace netproxy::tcp {

class ReceiveQueue {
 public:
  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

  // Keeps a reference to `slab` when the payload is worth it, and copies it otherwise.
  void push(engine::Slabs& slabs, uint32_t slab, const uint8_t* data, size_t length);

  // The next bytes, at most `max`, as a place in the slabs' mapping: in a slab, or gathered into the
  // staging area. They stay in the queue until consume().
  struct View {
    size_t offset;
    size_t length;
  };
  View peek(engine::Slabs& slabs, size_t max) const;

  // The next bytes where they lie, when that is a slab; otherwise slab kNone.
  struct InSlab {
    uint32_t slab;
    const uint8_t* data;
    size_t length;
  };
  InSlab front() const;

  // Copies the next bytes, at most `max`; returns how many.
  size_t read(uint8_t* out, size_t max) const;

  // Drops the first `length` bytes (at most bytes()).
  void consume(engine::Slabs& slabs, size_t length);
  void clear(engine::Slabs& slabs) {
    consume(slabs, bytes_);
    pieces_.release();
  }

 private:
  struct Piece {
    uint32_t slab = engine::Slabs::kNone;  // kNone: `own` holds the bytes
    std::unique_ptr<uint8_t[]> own;
    size_t capacity = 0;
    const uint8_t* data = nullptr;
    size_t length = 0;
  };
  Fifo<Piece> pieces_;
  size_t bytes_ = 0;
};

}  // namespace netproxy::tcp
