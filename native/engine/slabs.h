// A fixed pool of packet-sized buffers in one mapping that JavaScript sees as one ArrayBuffer.
//
// A slab is owned by whoever holds a reference: the thread that reads the TUN, and each payload kept
// in a receive queue. All calls are made under the engine's lock.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "constants.h"

namespace netproxy::engine {

class Slabs {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  Slabs() {
    void* mapping =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<uint8_t*>(mapping);
    references_.resize(limits::kSlabs, 0);
    // Last in, first out: only as many slabs as are in use at once are ever touched.
    for (uint32_t slab = limits::kSlabs; slab-- > 0;) free_.push_back(slab);
  }
  ~Slabs() { munmap(memory_, bytes()); }
  Slabs(const Slabs&) = delete;
  Slabs& operator=(const Slabs&) = delete;

  // Slabs first, then the staging area of take().
  static constexpr size_t bytes() { return limits::kSlabs * limits::kSlabBytes + limits::kStagingBytes; }
  uint8_t* memory() const { return memory_; }
  uint8_t* at(uint32_t slab) const { return memory_ + size_t{slab} * limits::kSlabBytes; }
  uint8_t* staging() const { return memory_ + limits::kSlabs * limits::kSlabBytes; }

  // A slab with one reference, or kNone.
  uint32_t acquire() {
    if (free_.empty()) return kNone;
    const uint32_t slab = free_.back();
    free_.pop_back();
    references_[slab] = 1;
    return slab;
  }
  void retain(uint32_t slab) { ++references_[slab]; }
  void release(uint32_t slab) {
    if (--references_[slab] == 0) free_.push_back(slab);
  }
  uint16_t references(uint32_t slab) const { return references_[slab]; }
  size_t in_use() const { return limits::kSlabs - free_.size(); }
  // One slab is the reader's own; keeping the last ones for it means that the TUN is always read.
  bool scarce() const { return free_.size() < limits::kSlabs / 8; }

 private:
  uint8_t* memory_;
  std::vector<uint32_t> free_;
  std::vector<uint16_t> references_;
};

}  // namespace netproxy::engine
