// How much of a channel may be on its way to the target at once, while others use the connection.
//
// The server's window alone (2 MiB with OpenSSH) lets a bulk channel fill the socket that all channels
// share, and every other flow waits behind it. Alone on the connection a channel has all of it: a short
// queue costs throughput where the processor is the limit, and nobody waits. The server invites more as
// the target takes bytes, which tells how long they were under way; the limit grows while that time stays
// near the shortest seen, and shrinks when it shows a queue (delay-based, as TCP Vegas: Brakmo and
// Peterson, 1994). src/ssh/send-credit.ts is the same for bytes that JavaScript sends.
#pragma once

#include <cstdint>

#include "constants.h"
#include "tcp/connection.h"

namespace netproxy::ssh {

using tcp::Time;

class Credit {
 public:
  explicit Credit(uint32_t window) : window_(window) {}

  // Bytes that may be sent now. `shared`: other channels use the connection.
  uint64_t available(bool shared) const;
  // `bytes` were sent; `more`: further bytes wait.
  void use(uint64_t bytes, bool more, bool shared, Time now);
  // The server took `bytes` and invites as many.
  void adjusted(uint64_t bytes, Time now);
  // For a server whose steps are longer than the limit, which waits for more as we wait for it. Called
  // every few seconds; true when nothing was taken between two calls though the window had room: from then on
  // the limit is no shorter than a step.
  bool lift();

 private:
  void learn(Time delay, Time now);

  uint64_t window_;
  uint64_t sent_ = 0;
  uint64_t taken_ = 0;
  uint64_t floor_ = limits::kInFlightFloor;
  uint64_t limit_ = limits::kInFlightFloor;
  // Bytes taken at the last call of lift(), if the limit held us up.
  uint64_t taken_before_ = UINT64_MAX;
  bool lifted_ = false;  // the next step is to be learned
  Time shortest_ = tcp::kNever;
  Time shortest_since_ = 0;
  // A byte whose way is timed: it was sent when the limit was reached.
  Time timed_at_ = tcp::kNever;
  uint64_t timed_offset_ = 0;
};

}  // namespace netproxy::ssh
