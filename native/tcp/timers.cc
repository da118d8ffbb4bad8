// What time asks for: retransmission, zero-window probes, the ends of waiting states.
#include <algorithm>

#include "constants.h"
#include "tcp/sequence.h"
#include "tcp/stack.h"

namespace netproxy::tcp {

// A flow has one live entry in the queue. Deadlines that move back leave it where it is, since bulk
// traffic moves them with every packet; it is looked at again when it comes up.
void Stack::schedule(Connection& c) {
  const Time at = std::min({c.retransmit_at, c.expire_at, c.ack_at});
  if (at >= c.scheduled_at) return;
  c.scheduled_at = at;
  timers_.push({at, c.id});
}

void Stack::advance(Time now) {
  if (sweep_at_ <= now) sweep(now);
  while (!timers_.empty() && timers_.top().at <= now) {
    const Timer timer = timers_.top();
    timers_.pop();
    Connection* c = find(timer.id);
    if (c == nullptr || c->scheduled_at != timer.at) continue;
    c->scheduled_at = kNever;
    if (c->expire_at <= now) {
      // TIME-WAIT is over, or the application has given up on a connect.
      finish(*c, c->state == State::kTimeWait ? End::kFinished : End::kResetByApp);
      continue;
    }
    if (c->ack_at <= now) owe_ack(*c);
    if (c->retransmit_at <= now) retransmit(*c, now);
    if (c->state != State::kClosed) schedule(*c);
  }
}

void Stack::retransmit(Connection& c, Time now) {
  const bool synchronising = c.state == State::kSynReceived;
  const bool flying = synchronising || c.snd_una != c.snd_max;
  if (!flying && c.sending.bytes() == 0) {
    c.retransmit_at = kNever;
    return;
  }
  // A peer that answers is alive, however long its window stays shut (RFC 9293, 3.8.6.1).
  if (++c.unanswered > limits::kRetransmits) {
    if (!synchronising) send_reset(c.key, acceptable_sequence(c), c.rcv_nxt, true);
    finish(c, End::kTimedOut);
    return;
  }
  if (c.retransmits < limits::kRetransmits) ++c.retransmits;
  ++counters_.retransmits;
  if (synchronising) {
    c.ack_owed = true;
  } else {
    c.snd_nxt = c.snd_una;
    c.recovering = false;
    c.resend = false;
    c.recover = c.snd_max;
    c.duplicate_acks = 0;
    c.probe = true;  // also into a window too small to be worth it otherwise
  }
  arm_retransmit(c, now);
  mark_dirty(c);
}

// Keepalive (RFC 9293, 3.8.4). All flows at a slow pace instead of a timer each, since such a timer would
// outlive its flow by an hour in the queue. What retransmits finds out by itself.
void Stack::sweep(Time now) {
  sweep_at_ = by_key_.empty() ? kNever : now + limits::kKeepaliveSweepUs;
  for (Connection& c : slots_) {
    if (!c.established() || c.over() || c.retransmit_at != kNever) continue;
    if (now - c.heard_at < limits::kKeepaliveIdleUs) continue;
    if (c.keepalives >= limits::kKeepaliveProbes) {
      send_reset(c.key, acceptable_sequence(c), c.rcv_nxt, true);
      finish(c, End::kTimedOut);
      continue;
    }
    ++c.keepalives;
    ++counters_.keepalives;
    c.keepalive_owed = true;
    mark_dirty(c);
  }
}

}  // namespace netproxy::tcp
