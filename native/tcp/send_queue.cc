#include "tcp/send_queue.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace netproxy::tcp {

std::unique_ptr<Block> BlockPool::acquire() {
  std::unique_ptr<Block> block;
  if (free_.empty()) {
    block.reset(new (std::nothrow) Block);
  } else {
    block = std::move(free_.back());
    free_.pop_back();
  }
  if (block != nullptr) ++in_use_;
  return block;
}

void BlockPool::release(std::unique_ptr<Block> block) {
  --in_use_;
  if (free_.size() < limits::kFreeBlocks) free_.push_back(std::move(block));
}

void BlockPool::collect() {
  for (auto& block : retired_) release(std::move(block));
  retired_.clear();
}

bool SendQueue::push(BlockPool& pool, const uint8_t* data, size_t length) {
  const size_t used = start_ + bytes_;
  const size_t wanted = (used + length + limits::kBlockBytes - 1) / limits::kBlockBytes;
  const size_t had = blocks_.size();
  while (blocks_.size() < wanted) {
    auto block = pool.acquire();
    if (block == nullptr) {
      while (blocks_.size() > had) {
        pool.release(std::move(blocks_.back()));
        blocks_.pop_back();
      }
      return false;
    }
    blocks_.push_back(std::move(block));
  }
  size_t at = used;
  bytes_ += length;
  while (length > 0) {
    const size_t within = at % limits::kBlockBytes;
    const size_t part = std::min(length, limits::kBlockBytes - within);
    std::memcpy(blocks_[at / limits::kBlockBytes]->bytes + within, data, part);
    data += part;
    at += part;
    length -= part;
  }
  return true;
}

int SendQueue::view(size_t offset, size_t& length, iovec* pieces, int count) const {
  size_t at = start_ + offset;
  size_t left = std::min(length, bytes_ - offset);
  length = 0;
  int used = 0;
  while (left > 0 && used < count) {
    const size_t within = at % limits::kBlockBytes;
    const size_t part = std::min(left, limits::kBlockBytes - within);
    pieces[used++] = {blocks_[at / limits::kBlockBytes]->bytes + within, part};
    at += part;
    left -= part;
    length += part;
  }
  return used;
}

void SendQueue::consume(BlockPool& pool, size_t length) {
  length = std::min(length, bytes_);
  bytes_ -= length;
  start_ += length;
  while (!blocks_.empty() && (start_ >= limits::kBlockBytes || bytes_ == 0)) {
    pool.release(std::move(blocks_.front()));
    blocks_.pop_front();
    start_ = bytes_ == 0 ? 0 : start_ - limits::kBlockBytes;
  }
}

void SendQueue::retire(BlockPool& pool) {
  for (auto& block : blocks_) pool.retire(std::move(block));
  blocks_.release();
  start_ = 0;
  bytes_ = 0;
}

}  // namespace netproxy::tcp
