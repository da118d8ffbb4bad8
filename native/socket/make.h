// Makes sockets, here or in the network namespace of a helper (native/helper).
#pragma once

#include <cstdint>
#include <string>

#include "helper/protocol.h"

namespace netproxy::socket {

struct Spec {
  int domain;
  int type;  // SOCK_NONBLOCK and SOCK_CLOEXEC are set in any case
  int protocol;
  uint32_t mark;  // SO_MARK; 0: none
};

// In the place of a helper's channel: the namespace of the calling thread.
constexpr int kOwn = -1;

// The new socket. `helper` is the channel to a helper, which is waited for, or kOwn. Throws
// std::system_error.
int make(const Spec& spec, int helper);

// Asks the helper; gives the descriptor that it answers with, and the answer. Throws std::system_error with
// the helper's errno and step, and with EPIPE or ETIMEDOUT where there is no answer.
int ask(int helper, const helper::Request& request, helper::Answer& answer);

}  // namespace netproxy::socket
