// Where the bytes of joined flows go, and come from, by the engine thread itself, so that JavaScript need
// not be woken. Called by that thread, without its lock.
#pragma once

#include <cstdint>
#include <vector>

namespace netproxy::engine {

class Outlet {
 public:
  virtual ~Outlet() = default;
  // Its file descriptor has become readable or writable (epoll events); serve() follows.
  virtual void polled(uint32_t events) = 0;
  // The queue of this channel's flow fell below its low-water mark.
  virtual void drained(uint32_t channel) = 0;
  // The flows of these channels have bytes, or have ended. True when there is more to do at once: it is
  // called again, with none, after other work had its turn.
  virtual bool serve(const std::vector<uint32_t>& channels) = 0;
};

}  // namespace netproxy::engine
