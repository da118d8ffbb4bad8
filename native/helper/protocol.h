// What netproxy and its helper in another network namespace say to each other. Both are of one build and on
// one machine: numbers are in host order.
//
// By kDescriptors (SOCK_SEQPACKET) one Request, and one Answer, which brings a descriptor unless it has an
// error.
//
// By kCommands (a stream) frames of a Frame and its payload, in both directions:
//
//   hello   (to netproxy, first)   int32 errno, or 0; byte: resolv.conf is covered; text: the step that
//   failed run     u32 bytes of argv, argv with a NUL behind each, standard input
//             answered by int32 wait status (or -errno), u32 bytes of output, output, what came on stderr
//   read    path below /proc       answered by int32 errno, content
//   spawn   u32 strings of argv, argv and environment with a NUL behind each
//             answered by int32 wait status (or -errno) when the command has ended
//   signal  u32 id of a run or spawn, u32 number of a signal; not answered
#pragma once

#include <linux/if.h>

#include <cstddef>
#include <cstdint>

namespace netproxy::helper {

constexpr int kDescriptors = 3;
constexpr int kCommands = 4;

enum class Kind : uint32_t { kSocket = 1, kTun = 2 };

struct Request {
  Kind kind;
  int32_t domain;
  int32_t type;
  int32_t protocol;
  uint32_t mark;        // SO_MARK; 0: none
  char name[IFNAMSIZ];  // of the TUN
};

// Characters for the name of a failed step, with its NUL.
constexpr size_t kStepBytes = 64;

struct Answer {
  int32_t error;  // errno, or 0
  uint32_t segmentation;
  char name[IFNAMSIZ];
  char step[kStepBytes];
};

enum class FrameKind : uint32_t { kHello = 1, kRun, kRead, kSpawn, kSignal };

struct Frame {
  uint32_t length;  // bytes of payload
  uint32_t id;      // given by netproxy; an answer has that of its question
  FrameKind kind;
};

}  // namespace netproxy::helper
