#include "ssh/credit.h"

#include <algorithm>

namespace netproxy::ssh {

namespace {

// Growth and shrinkage of the limit after one round, in percent: slow enough not to swing, quick enough
// that a path of 100 ms is filled within a second.
constexpr uint64_t kGrow = 150;
constexpr uint64_t kShrink = 85;

}  // namespace

uint64_t Credit::available(bool shared) const {
  if (!shared) return window_;
  const uint64_t flying = sent_ - taken_;
  return std::min(window_, limit_ > flying ? limit_ - flying : 0);
}

void Credit::use(uint64_t bytes, bool more, bool shared, Time now) {
  bytes = std::min(bytes, window_);
  sent_ += bytes;
  window_ -= bytes;
  // Only a sender that never pauses learns something: the server answers in steps, and a pause would
  // count as delay.
  if (!more) {
    timed_at_ = tcp::kNever;
  } else if (timed_at_ == tcp::kNever && available(shared) == 0) {
    timed_at_ = now;
    timed_offset_ = sent_;
  }
}

void Credit::adjusted(uint64_t bytes, Time now) {
  // RFC 4254, 5.2: the window never exceeds 2^32 - 1 bytes.
  window_ = std::min<uint64_t>(window_ + bytes, UINT32_MAX);
  if (lifted_) {
    lifted_ = false;
    floor_ = std::max(floor_, std::min(bytes, sent_ - taken_) + limits::kInFlightSlack);
  }
  // Not more than was sent: a server may also widen its window.
  taken_ = std::min(sent_, taken_ + bytes);
  if (timed_at_ == tcp::kNever || taken_ < timed_offset_) return;
  const Time delay = now - timed_at_;
  timed_at_ = tcp::kNever;
  learn(delay, now);
}

bool Credit::lift() {
  const uint64_t flying = sent_ - taken_;
  const bool held_up = window_ > 0 && flying >= limit_;
  const bool stuck = held_up && taken_ == taken_before_;
  taken_before_ = held_up ? taken_ : UINT64_MAX;
  if (!stuck) return false;
  lifted_ = true;
  limit_ = flying + window_;
  timed_at_ = tcp::kNever;
  return true;
}

void Credit::learn(Time delay, Time now) {
  if (delay < shortest_ || now - shortest_since_ > limits::kQueueDelayPeriodUs) {
    shortest_ = delay;
    shortest_since_ = now;
  }
  // A queue may add an eighth of the path's own delay before it counts as one: paths are never still.
  const bool calm = delay - shortest_ <= limits::kQueueDelayUs + shortest_ / 8;
  // Beyond the server's window there is nothing to gain.
  const uint64_t most = window_ + sent_ - taken_;
  const uint64_t limit = std::min(most, limit_ * (calm ? kGrow : kShrink) / 100);
  limit_ = std::max(floor_, limit);
}

}  // namespace netproxy::ssh
