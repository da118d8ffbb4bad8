#pragma once

#include <ctime>

#include "tcp/connection.h"

namespace netproxy::engine {

inline tcp::Time now() {
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<tcp::Time>(at.tv_sec) * 1'000'000 + static_cast<tcp::Time>(at.tv_nsec) / 1000;
}

}  // namespace netproxy::engine
