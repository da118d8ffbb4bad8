#include "tcp/stack.h"

#include <algorithm>

#include "constants.h"
#include "tcp/sequence.h"

namespace netproxy::tcp {

namespace {

static_assert(limits::kFlows <= kSlotMask);

constexpr uint16_t kDefaultMss = 536;  // RFC 9293, 3.7.1, when the option is absent
constexpr uint16_t kDefaultMss6 = 1220;
constexpr uint16_t kSmallestMss = 64;  // below this a peer asks for an attack by tiny segments

FlowKey target_of(const FlowKey& key) {
  FlowKey target = key;
  target.source = {};
  target.source_port = 0;
  return target;
}

}  // namespace

Stack::Stack(const Config& config, engine::Slabs& slabs, Events& events)
    : config_(config),
      slabs_(slabs),
      events_(events),
      by_key_(16, KeyHash{config.secret}),
      pending_by_target_(16, KeyHash{config.secret}) {}

Connection* Stack::find(FlowId id) {
  const uint32_t slot = id & kSlotMask;
  if (slot >= slots_.size()) return nullptr;
  Connection& connection = slots_[slot];
  return connection.id == id && connection.state != State::kClosed ? &connection : nullptr;
}

Connection* Stack::open(const FlowKey& key, const packet::TcpSegment& segment, Time now) {
  if (by_key_.size() >= limits::kFlows || pending_ >= limits::kPendingDials || events_.crowded()) {
    ++counters_.syns_dropped;
    return nullptr;
  }
  uint32_t& to_target = pending_by_target_[target_of(key)];
  if (to_target >= limits::kPendingDialsPerTarget) {
    ++counters_.syns_dropped;
    ++counters_.syns_dropped_target;
    return nullptr;
  }
  ++to_target;
  ++pending_;
  uint32_t slot;
  if (slots_.size() < limits::kSlotsBeforeReuse || free_slots_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
    generations_.push_back(0);
  } else {
    slot = free_slots_.front();
    free_slots_.pop_front();
  }
  // Generation 0 is left out: a flow number is never 0.
  if (++generations_[slot] == 0) generations_[slot] = 1;

  Connection& c = slots_[slot];
  c = Connection{};
  c.id = (uint32_t{generations_[slot]} << kSlotBits) | slot;
  c.key = key;
  c.state = State::kDialing;
  c.irs = segment.sequence;
  c.rcv_nxt = c.rcv_edge = segment.sequence + 1;
  c.iss = initial_sequence(config_.secret, key, now);
  c.snd_una = c.snd_nxt = c.snd_max = c.recover = c.iss;
  const uint16_t offered = segment.mss != 0 ? segment.mss : (key.family == 4 ? kDefaultMss : kDefaultMss6);
  c.mss = std::clamp(offered, kSmallestMss, our_mss(key.family));
  // RFC 7323, 2.2: both sides scale, or neither.
  if (segment.window_scale >= 0) {
    c.snd_scale = static_cast<uint8_t>(segment.window_scale);
    c.rcv_scale = limits::kWindowScale;
  }
  c.snd_wnd = c.snd_wnd_max = segment.window;
  c.snd_wl1 = segment.sequence;
  c.snd_wl2 = c.iss;
  c.syn_at = c.heard_at = now;
  c.syn_gap = limits::kSynFirstGapUs;
  c.expire_at = now + 2 * c.syn_gap + limits::kSynSlackUs;
  by_key_.emplace(key, slot);
  if (sweep_at_ == kNever) sweep_at_ = now + limits::kKeepaliveSweepUs;
  schedule(c);
  events_.opened(c);
  return &c;
}

uint16_t Stack::our_mss(uint8_t family) const {
  const size_t headers = (family == 4 ? packet::kIp4Header : packet::kIp6Header) + packet::kTcpHeader;
  return static_cast<uint16_t>(config_.mtu - headers);
}

// Gives the slot back. Payload under way to the application may still be referred to by a packet that
// is being written, so it is retired, not freed.
void Stack::release(Connection& c) {
  if (c.state == State::kDialing) dial_over(c);
  received_bytes_ -= c.received.bytes();
  c.received.clear(slabs_);
  c.sending.retire(blocks_);
  forget_out_of_order(c);
  c.state = State::kClosed;
  const uint32_t slot = c.id & kSlotMask;
  by_key_.erase(c.key);
  free_slots_.push_back(slot);
}

void Stack::dial_over(const Connection& c) {
  --pending_;
  const auto target = pending_by_target_.find(target_of(c.key));
  if (--target->second == 0) pending_by_target_.erase(target);
}

void Stack::tell_closed(Connection& c, End end) {
  if (c.closed_told) return;
  c.closed_told = true;
  events_.closed(c.id, end);
}

void Stack::finish(Connection& c, End end) {
  tell_closed(c, end);
  release(c);
}

void Stack::tell_readable(Connection& c) {
  if (c.readable_told) return;
  c.readable_told = true;
  events_.readable(c.id);
}

// Both halves are closed in order once our FIN is acknowledged, the application's FIN is here, and all
// that came before it was taken.
void Stack::maybe_finish(Connection& c, Time now) {
  if (!c.over() || !c.received.empty()) return;
  if (c.state == State::kLastAck) {
    finish(c, End::kFinished);
    return;
  }
  tell_closed(c, End::kFinished);
  if (c.expire_at == kNever) {
    c.expire_at = now + limits::kTimeWaitUs;
    schedule(c);
  }
}

void Stack::mark_dirty(Connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty_.push_back(c.id);
}

void Stack::owe_ack(Connection& c) {
  c.ack_owed = true;
  c.ack_at = kNever;
  mark_dirty(c);
}

// The answer to a small segment is likely to carry the acknowledgement; a second one does not wait.
void Stack::owe_ack_soon(Connection& c, Time now) {
  if (config_.ack_delay == 0 || c.ack_owed || c.ack_at != kNever) {
    owe_ack(c);
    return;
  }
  c.ack_at = now + config_.ack_delay;
  schedule(c);
}

void Stack::accept(FlowId id) {
  Connection* c = find(id);
  if (c == nullptr || c->state != State::kDialing) return;
  dial_over(*c);
  c->state = State::kSynReceived;
  c->expire_at = kNever;
  c->snd_nxt = c->snd_max = c->iss + 1;
  c->ack_owed = true;
  mark_dirty(*c);
}

void Stack::reject(FlowId id, Reject reason) {
  Connection* c = find(id);
  if (c == nullptr) return;
  if (c->state != State::kDialing) {
    // Accepted by an outlet while the rejection was under way.
    abort(id);
    return;
  }
  if (reason == Reject::kRefused) {
    send_reset(c->key, 0, c->rcv_nxt, true);
  } else {
    send_unreachable(*c, reason);
  }
  finish(*c, End::kAborted);
}

void Stack::drop(FlowId id) {
  Connection* c = find(id);
  if (c != nullptr && c->state == State::kDialing) finish(*c, End::kAborted);
}

void Stack::abort(FlowId id) {
  Connection* c = find(id);
  if (c == nullptr) return;
  if (!c->over()) {
    if (c->state == State::kDialing) {
      send_reset(c->key, 0, c->rcv_nxt, true);
    } else {
      send_reset(c->key, acceptable_sequence(*c), c->rcv_nxt, true);
    }
  }
  finish(*c, End::kAborted);
}

size_t Stack::write(FlowId id, const uint8_t* data, size_t length) {
  Connection* c = find(id);
  if (c == nullptr || c->fin_queued || c->state == State::kDialing) return 0;
  if (length == 0) return c->sending.bytes();
  if (!c->sending.push(blocks_, data, length)) {
    abort(id);
    return 0;
  }
  if (c->sending.bytes() > limits::kSendHighWater) c->drained_owed = true;
  if (c->established()) mark_dirty(*c);
  return c->sending.bytes();
}

void Stack::end(FlowId id) {
  Connection* c = find(id);
  if (c == nullptr || c->fin_queued || c->state == State::kDialing) return;
  c->fin_queued = true;
  if (c->established()) mark_dirty(*c);
}

ReceiveQueue::View Stack::peek(FlowId id, size_t max) {
  Connection* c = find(id);
  if (c == nullptr) return {0, 0};
  const auto view = c->received.peek(slabs_, max);
  if (c->received.empty()) c->readable_told = false;
  return view;
}

ReceiveQueue::InSlab Stack::front(FlowId id) {
  Connection* c = find(id);
  if (c == nullptr) return {engine::Slabs::kNone, nullptr, 0};
  return c->received.front();
}

size_t Stack::read(FlowId id, uint8_t* out, size_t max) {
  Connection* c = find(id);
  if (c == nullptr) return 0;
  const size_t length = c->received.read(out, max);
  if (length == 0) c->readable_told = false;
  return length;
}

bool Stack::ended(FlowId id) {
  Connection* c = find(id);
  return c != nullptr && c->fin_received && c->received.empty();
}

bool Stack::consume(FlowId id, size_t length, Time now) {
  Connection* c = find(id);
  if (c == nullptr) return false;
  length = std::min(length, c->received.bytes());
  c->received.consume(slabs_, length);
  received_bytes_ -= length;
  if (c->received.empty()) c->readable_told = false;
  const bool ended = c->fin_received && c->received.empty();
  if (c->established() && !c->fin_received && window_update_due(*c)) owe_ack(*c);
  if (ended) maybe_finish(*c, now);
  return ended;
}

void Stack::control(const packet::OutPacket& out) {
  if (control_.size() < limits::kControlQueue) {
    control_.push_back(out);
  } else {
    ++counters_.control_dropped;
  }
}

}  // namespace netproxy::tcp
