// Payload on its way to the application: from the first unacknowledged byte to the last queued one.
//
// Bytes never move once they are queued, since a segment under way refers to them in place.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "constants.h"
#include "tcp/fifo.h"

namespace netproxy::tcp {

struct Block {
  uint8_t bytes[limits::kBlockBytes];
};

// Blocks for all flows. `retire` is for a thread that must not free what another may be writing from:
// retired blocks are free again only after collect().
class BlockPool {
 public:
  std::unique_ptr<Block> acquire();
  void release(std::unique_ptr<Block> block);
  void retire(std::unique_ptr<Block> block) { retired_.push_back(std::move(block)); }
  void collect();
  size_t in_use() const { return in_use_; }

 private:
  std::vector<std::unique_ptr<Block>> free_;
  std::vector<std::unique_ptr<Block>> retired_;
  size_t in_use_ = 0;
};

class SendQueue {
 public:
  size_t bytes() const { return bytes_; }

  // Copies; false when out of memory, and then nothing was queued.
  bool push(BlockPool& pool, const uint8_t* data, size_t length);

  // Describes `length` bytes from `offset` (both within the queue) in at most `count` pieces;
  // returns how many pieces. `length` is cut when more would be needed.
  int view(size_t offset, size_t& length, iovec* pieces, int count) const;

  // Drops the first `length` bytes: they were acknowledged.
  void consume(BlockPool& pool, size_t length);

  // Empties the queue while a segment may still refer to it.
  void retire(BlockPool& pool);

 private:
  Fifo<std::unique_ptr<Block>> blocks_;
  size_t start_ = 0;  // offset of the first byte within the first block
  size_t bytes_ = 0;
};

}  // namespace netproxy::tcp
