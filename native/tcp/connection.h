// One TCP conversation with the local kernel, in which we are always the side that was connected to.
//
// The link to the peer is a queue in this machine's memory: nothing here paces, probes a path or
// controls congestion. What is lost, repeated, out of order or forged is dealt with all the same.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "packet/ip.h"
#include "tcp/receive_queue.h"
#include "tcp/send_queue.h"
#include "tcp/sequence.h"

namespace netproxy::tcp {

// Slot (16 bits) and generation of the slot (16 bits): a number from an earlier use matches nothing.
using FlowId = uint32_t;
inline constexpr uint32_t kSlotBits = 16;
inline constexpr uint32_t kSlotMask = (1u << kSlotBits) - 1;

// Microseconds of a monotonic clock that the owner reads.
using Time = uint64_t;
inline constexpr Time kNever = UINT64_MAX;

// The application's end first: its packets have `source` and `source_port` as source.
struct FlowKey {
  packet::Address source{};
  packet::Address destination{};
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint8_t family = 0;

  bool operator==(const FlowKey&) const = default;
};

// RFC 9293, 3.3.2, for the passive side. kDialing stands before SYN-RECEIVED: the SYN is known, the
// far end's answer is not.
enum class State : uint8_t {
  kDialing,
  kSynReceived,
  kEstablished,
  kFinWait1,
  kFinWait2,
  kClosing,
  kTimeWait,
  kCloseWait,
  kLastAck,
  kClosed,
};

// How a conversation ended; the numbers are shared with src/engine/events.ts.
enum class End : uint32_t { kFinished = 0, kResetByApp = 1, kAborted = 2, kTimedOut = 3 };

struct Connection {
  FlowId id = 0;
  FlowKey key;
  State state = State::kClosed;

  // Receive side (RFC 9293, 3.3.1).
  uint32_t irs = 0;
  uint32_t rcv_nxt = 0;
  uint32_t rcv_edge = 0;  // right edge of the window that the peer has been told
  uint8_t rcv_scale = 0;
  bool fin_received = false;
  ReceiveQueue received;
  // By sequence number; disjoint, and all after rcv_nxt.
  std::map<uint32_t, std::vector<uint8_t>, Before> out_of_order;
  size_t out_of_order_bytes = 0;

  // Send side.
  uint32_t iss = 0;
  uint32_t snd_una = 0;
  uint32_t snd_nxt = 0;
  uint32_t snd_max = 0;  // highest snd_nxt ever, which going back does not lower
  uint32_t snd_wnd = 0;
  uint32_t snd_wnd_max = 0;
  uint32_t snd_wl1 = 0;
  uint32_t snd_wl2 = 0;
  uint8_t snd_scale = 0;
  uint16_t mss = 536;
  SendQueue sending;
  bool fin_queued = false;  // end() was called: a FIN follows the queued bytes

  // Loss recovery (RFC 6582). `recover` is never before snd_una, so that it cannot grow stale.
  uint8_t duplicate_acks = 0;
  bool recovering = false;
  bool resend = false;  // send what stands at snd_una again, whatever flies
  uint32_t recover = 0;
  uint8_t retransmits = 0;  // doublings of the wait
  uint8_t unanswered = 0;   // retransmissions and probes since the peer was last heard
  uint8_t keepalives = 0;   // keepalive probes since the peer was last heard
  bool keepalive_owed = false;
  Time heard_at = 0;

  // Timers.
  Time retransmit_at = kNever;  // also the zero-window probe's and the SYN-ACK's
  Time expire_at = kNever;      // end of TIME-WAIT, or of waiting for a repeated SYN
  Time ack_at = kNever;         // a delayed acknowledgement is due
  Time scheduled_at = kNever;   // the earliest entry in the timer queue
  Time syn_at = 0;
  Time syn_gap = 0;

  // Owed output and notices.
  bool ack_owed = false;
  bool dirty = false;          // stands in the output queue
  bool probe = false;          // send what fits, and one byte even into a closed window
  bool readable_told = false;  // JavaScript knows that bytes wait
  bool drained_owed = false;   // the queue was above the high-water mark
  bool closed_told = false;

  bool established() const { return state >= State::kEstablished && state <= State::kLastAck; }
  bool fin_sent() const { return state >= State::kFinWait1 && state != State::kCloseWait; }
  // The FIN is the last number of our half.
  bool fin_acknowledged() const { return fin_sent() && snd_una == snd_max; }
  // Nothing more can come from the peer nor go to it; bytes that it sent may still wait here.
  bool over() const { return state == State::kTimeWait || (state == State::kLastAck && fin_acknowledged()); }
  bool can_send_data() const {
    return state == State::kEstablished || state == State::kCloseWait || state == State::kFinWait1 ||
           state == State::kLastAck || state == State::kClosing;
  }
};

}  // namespace netproxy::tcp
