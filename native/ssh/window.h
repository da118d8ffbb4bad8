// The receive window of one channel. Its target doubles each time the far end filled it while the reader
// kept up, so only downloads that need a large window get one, and it falls back when the reader lags,
// since all of it may have to be queued. src/ssh/window.ts is much the same for channels of JavaScript's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "constants.h"

namespace netproxy::ssh {

class ReceiveWindow {
 public:
  // Counts received bytes. False when the far end sent more than it was invited to.
  bool use(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    since_growth_ += bytes;
    return true;
  }

  // Bytes to invite now; 0 while it is not worth a packet. The reader keeps up. `max`: what the target may
  // grow to.
  uint32_t top_up(uint64_t max) {
    if (since_growth_ >= target_) {
      target_ *= 2;
      since_growth_ = 0;
    }
    target_ = std::min(target_, max);
    const uint64_t owed = target_ > left_ ? target_ - left_ : 0;
    if (owed * limits::kTopUpDivisor < target_) return 0;
    left_ += owed;
    return static_cast<uint32_t>(owed);
  }

  // The reader lags.
  void lag() {
    target_ = limits::kChannelWindow;
    since_growth_ = 0;
  }

 private:
  uint64_t left_ = limits::kChannelWindow;
  uint64_t target_ = limits::kChannelWindow;
  uint64_t since_growth_ = 0;
};

}  // namespace netproxy::ssh
