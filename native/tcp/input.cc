// Segments from the application's kernel, in the order of RFC 9293, 3.10.7.
#include <algorithm>
#include <iterator>

#include "constants.h"
#include "tcp/sequence.h"
#include "tcp/stack.h"

namespace netproxy::tcp {

using packet::kAck;
using packet::kFin;
using packet::kRst;
using packet::kSyn;

namespace {

constexpr uint8_t kDuplicateAcks = 3;  // RFC 5681, 3.2

}  // namespace

void Stack::input(const packet::IpPacket& ip, uint32_t slab, Time now) {
  packet::TcpSegment segment;
  if (!packet::parse_tcp(ip.payload, ip.payload_length, segment)) {
    ++counters_.malformed;
    return;
  }
  ++counters_.segments_in;
  FlowKey key;
  key.family = ip.family;
  key.source = ip.source;
  key.destination = ip.destination;
  key.source_port = segment.source_port;
  key.destination_port = segment.destination_port;

  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    Connection& c = slots_[found->second];
    c.heard_at = now;
    c.keepalives = 0;
    const bool fresh_syn = segment.has(kSyn) && !segment.has(kAck | kRst);
    if (c.over() && !c.received.empty() && (fresh_syn || segment.has(kRst))) {
      // The conversation is whole, only its last bytes wait to be taken: neither a reset (RFC 1337) nor
      // a successor, whose SYN comes again, may lose them.
      if (fresh_syn) ++counters_.syns_dropped;
      return;
    }
    // A new SYN above the old sequence numbers ends TIME-WAIT (RFC 9293, 3.10.7.4).
    const bool reuse = c.state == State::kTimeWait && fresh_syn && after(segment.sequence, c.rcv_nxt);
    if (!reuse) {
      if (c.state == State::kDialing) {
        input_dialing(c, segment, now);
      } else {
        input_segment(c, segment, slab, now);
      }
      return;
    }
    finish(c, End::kFinished);
  }

  if (segment.has(kRst)) return;
  if (segment.has(kSyn) && !segment.has(kAck | kFin)) {
    open(key, segment, now);
    return;
  }
  // No such conversation, perhaps one of a predecessor: the application learns at once.
  if (segment.has(kAck)) {
    send_reset(key, segment.acknowledgement, 0, false);
  } else {
    const auto length = static_cast<uint32_t>(segment.payload_length) + (segment.has(kSyn) ? 1 : 0) +
                        (segment.has(kFin) ? 1 : 0);
    send_reset(key, 0, segment.sequence + length, true);
  }
}

// The far end has not answered yet. A repeated SYN shows that the application still waits.
void Stack::input_dialing(Connection& c, const packet::TcpSegment& segment, Time now) {
  if (segment.has(kRst)) {
    if (!segment.has(kAck) && segment.sequence == c.rcv_nxt) finish(c, End::kResetByApp);
    return;
  }
  if (!segment.has(kSyn) || segment.has(kAck)) return;
  if (segment.sequence != c.irs) {
    // The port was reused for another connect: the former one is gone.
    const FlowKey key = c.key;
    finish(c, End::kResetByApp);
    open(key, segment, now);
    return;
  }
  c.syn_gap = std::max(c.syn_gap, now - c.syn_at);  // a copy that comes at once tells nothing
  c.syn_at = now;
  c.expire_at = now + 2 * c.syn_gap + limits::kSynSlackUs;
  schedule(c);
}

bool Stack::acceptable(const Connection& c, const packet::TcpSegment& segment) const {
  const uint32_t window = c.rcv_edge - c.rcv_nxt;
  const auto length = static_cast<uint32_t>(segment.payload_length) + (segment.has(kSyn) ? 1 : 0) +
                      (segment.has(kFin) ? 1 : 0);
  if (length == 0) return segment.sequence == c.rcv_nxt || in_range(segment.sequence, c.rcv_nxt, window);
  // Any number of it within the window; also when it begins before and ends behind.
  return window != 0 && before(segment.sequence, c.rcv_edge) && after(segment.sequence + length, c.rcv_nxt);
}

void Stack::input_segment(Connection& c, const packet::TcpSegment& segment, uint32_t slab, Time now) {
  if (segment.has(kRst)) {
    // RFC 5961, 3.2: only the exact number resets, any other within the window is asked about. Data that
    // a reset may carry doesn't count, so that one is good while the window is shut.
    if (segment.sequence == c.rcv_nxt) {
      finish(c, c.over() ? End::kFinished : End::kResetByApp);
    } else if (in_range(segment.sequence, c.rcv_nxt, c.rcv_edge - c.rcv_nxt)) {
      challenge(c, now);
    }
    return;
  }
  if (!acceptable(c, segment)) {
    if (c.state == State::kSynReceived && segment.has(kSyn) && segment.sequence == c.irs) {
      // Our SYN-ACK was lost: send it again.
      c.snd_nxt = c.iss;
    } else if (segment.has(kAck) && c.established() && after(segment.acknowledgement, c.snd_una) &&
               before_or_at(segment.acknowledgement, c.snd_max)) {
      // A zero-window probe's segment is not acceptable, what it acknowledges counts all the same.
      input_ack(c, segment, now);
    }
    if (c.state != State::kClosed) owe_ack(c);
    return;
  }
  if (segment.has(kSyn)) {
    challenge(c, now);  // RFC 5961, 4.2
    return;
  }
  if (!segment.has(kAck)) return;

  if (c.state == State::kSynReceived) {
    if (segment.acknowledgement != c.iss + 1) {
      send_reset(c.key, segment.acknowledgement, 0, false);
      return;
    }
    c.state = State::kEstablished;
    c.snd_una = c.snd_nxt = c.iss + 1;
    c.retransmits = c.unanswered = 0;
    c.retransmit_at = kNever;
    c.snd_wnd = c.snd_wnd_max = uint32_t{segment.window} << c.snd_scale;
    c.snd_wl1 = segment.sequence;
    c.snd_wl2 = segment.acknowledgement;
    if (c.sending.bytes() > 0 || c.fin_queued) mark_dirty(c);
  } else if (!input_ack(c, segment, now)) {
    return;
  }
  if (segment.payload_length > 0) input_data(c, segment, slab, now);
  if (segment.has(kFin)) {
    const uint32_t fin = segment.sequence + static_cast<uint32_t>(segment.payload_length);
    if (fin == c.rcv_nxt && !c.fin_received) {
      input_fin(c, now);
    } else {
      owe_ack(c);
    }
  }
}

// False when the segment is to be dropped, or when the flow is over.
bool Stack::input_ack(Connection& c, const packet::TcpSegment& segment, Time now) {
  const uint32_t ack = segment.acknowledgement;
  if (after(ack, c.snd_max)) {
    challenge(c, now);
    return false;
  }
  // RFC 5961, 5.2: too old to be of this conversation.
  if (before(ack, c.snd_una - std::max<uint32_t>(c.snd_wnd_max, 1))) {
    challenge(c, now);
    return false;
  }
  c.unanswered = 0;
  const uint32_t window = uint32_t{segment.window} << c.snd_scale;
  const bool advances = after(ack, c.snd_una);
  if (ack == c.snd_una && c.snd_max != c.snd_una && segment.payload_length == 0 && window == c.snd_wnd &&
      window != 0 && !segment.has(kFin)) {
    // RFC 5681, 3.2: the third duplicate tells of a loss, unless it may be the echo of what recovery
    // itself has sent twice (RFC 6582, 3.2). With the window shut it answers a probe.
    if (!c.recovering && before_or_at(c.recover, ack) && ++c.duplicate_acks == kDuplicateAcks) {
      c.recovering = true;
      c.recover = c.snd_max;
      resend_first(c);
    }
  }
  if (before(c.snd_wl1, segment.sequence) ||
      (c.snd_wl1 == segment.sequence && before_or_at(c.snd_wl2, ack))) {
    const bool opens = window > c.snd_wnd;
    if (c.snd_wnd == 0 && opens) {
      // What flew into the shut window was dropped there, and waiting is over.
      c.snd_nxt = c.snd_una;
      c.retransmits = 0;
      c.retransmit_at = kNever;
    }
    c.snd_wnd = window;
    c.snd_wnd_max = std::max(c.snd_wnd_max, window);
    c.snd_wl1 = segment.sequence;
    c.snd_wl2 = ack;
    if (opens && (c.sending.bytes() > 0 || c.snd_nxt != c.snd_max)) mark_dirty(c);
  }
  if (advances) acknowledged(c, ack, now);
  return c.state != State::kClosed;
}

void Stack::acknowledged(Connection& c, uint32_t ack, Time now) {
  const uint32_t advance = ack - c.snd_una;
  const size_t before_bytes = c.sending.bytes();
  const size_t data = std::min<size_t>(advance, before_bytes);
  c.sending.consume(blocks_, data);
  c.snd_una = ack;
  if (before(c.snd_nxt, ack)) c.snd_nxt = ack;
  c.duplicate_acks = 0;
  c.retransmits = 0;
  c.resend = false;
  if (before_or_at(c.recover, ack)) {
    c.recovering = false;
    c.recover = ack;
  } else if (c.recovering) {
    resend_first(c);  // RFC 6582: a partial acknowledgement shows the next loss
  }
  if (c.snd_una == c.snd_max) {
    c.retransmit_at = kNever;
  } else {
    arm_retransmit(c, now);
  }
  if (c.drained_owed && c.sending.bytes() <= limits::kSendLowWater) {
    c.drained_owed = false;
    events_.drained(c.id);
  }
  if (c.sending.bytes() > 0 || c.snd_nxt != c.snd_max) mark_dirty(c);

  if (!c.fin_acknowledged() || advance == data) return;
  switch (c.state) {
    case State::kFinWait1:
      c.state = State::kFinWait2;
      break;
    case State::kClosing:
      c.state = State::kTimeWait;
      maybe_finish(c, now);
      break;
    case State::kLastAck:
      maybe_finish(c, now);
      break;
    default:
      break;
  }
}

// Retransmits one packet's worth: the device takes or drops whole packets.
void Stack::resend_first(Connection& c) {
  c.resend = true;
  ++counters_.retransmits;
  mark_dirty(c);
}

void Stack::input_data(Connection& c, const packet::TcpSegment& segment, uint32_t slab, Time now) {
  // After the application's FIN nothing new can come (RFC 9293, 3.10.7.4, seventh).
  if (c.fin_received) {
    owe_ack(c);
    return;
  }
  const uint8_t* data = segment.payload;
  auto length = static_cast<uint32_t>(segment.payload_length);
  uint32_t sequence = segment.sequence;
  if (before(sequence, c.rcv_nxt)) {
    const uint32_t known = c.rcv_nxt - sequence;
    if (known >= length) {
      owe_ack(c);
      return;
    }
    data += known;
    length -= known;
    sequence = c.rcv_nxt;
  }
  const uint32_t room = c.rcv_edge - sequence;
  length = std::min(length, room);
  const bool reserved = sequence == c.rcv_nxt && c.received.bytes() < limits::kReceiveReserve;
  if (received_bytes_ >= limits::kReceiveTotalBytes && !reserved) {
    ++counters_.over_budget;
    owe_ack(c);
    return;
  }
  if (sequence != c.rcv_nxt) {
    owe_ack(c);
    ++counters_.out_of_order;
    keep_out_of_order(c, sequence, data, length);
    return;
  }
  c.received.push(slabs_, slab, data, length);
  received_bytes_ += length;
  c.rcv_nxt += length;
  // RFC 9293, 3.8.6.3: an acknowledgement may wait, but not for a second segment, and not when it tells
  // of a gap that is filled.
  if (length < c.mss && c.out_of_order.empty()) {
    owe_ack_soon(c, now);
  } else {
    owe_ack(c);
  }
  if (!c.out_of_order.empty()) deliver_out_of_order(c);
  tell_readable(c);
}

// Keeps what of the piece is not there yet. Pieces stay disjoint: what may overlap without end (copies
// that start one byte later each) would hold many times the window.
void Stack::keep_out_of_order(Connection& c, uint32_t sequence, const uint8_t* data, uint32_t length) {
  auto& pieces = c.out_of_order;
  const auto end_of = [](const auto& piece) {
    return piece.first + static_cast<uint32_t>(piece.second.size());
  };
  auto next = pieces.upper_bound(sequence);
  if (next != pieces.begin()) {
    const uint32_t covered = end_of(*std::prev(next));
    if (after(covered, sequence)) {
      const uint32_t known = covered - sequence;
      if (known >= length) return;
      sequence += known;
      data += known;
      length -= known;
    }
  }
  const uint32_t end = sequence + length;
  while (next != pieces.end() && before_or_at(end_of(*next), end)) next = drop_piece(c, next);
  if (next != pieces.end() && before(next->first, end)) length = next->first - sequence;
  if (length == 0 || pieces.size() >= limits::kOutOfOrderPieces) return;
  pieces.emplace_hint(next, sequence, std::vector<uint8_t>(data, data + length));
  c.out_of_order_bytes += length;
  received_bytes_ += length;
}

Stack::Pieces::iterator Stack::drop_piece(Connection& c, Pieces::iterator piece) {
  c.out_of_order_bytes -= piece->second.size();
  received_bytes_ -= piece->second.size();
  return c.out_of_order.erase(piece);
}

void Stack::deliver_out_of_order(Connection& c) {
  while (!c.out_of_order.empty()) {
    const auto first = c.out_of_order.begin();
    if (after(first->first, c.rcv_nxt)) return;
    const uint32_t known = c.rcv_nxt - first->first;
    if (known < first->second.size()) {
      const auto fresh = static_cast<uint32_t>(first->second.size()) - known;
      c.received.push(slabs_, engine::Slabs::kNone, first->second.data() + known, fresh);
      received_bytes_ += fresh;
      c.rcv_nxt += fresh;
    }
    drop_piece(c, first);
  }
}

void Stack::forget_out_of_order(Connection& c) {
  received_bytes_ -= c.out_of_order_bytes;
  c.out_of_order_bytes = 0;
  c.out_of_order.clear();
}

void Stack::input_fin(Connection& c, Time now) {
  c.fin_received = true;
  ++c.rcv_nxt;
  // A FIN takes a number but no room: it may stand just behind the window.
  if (after(c.rcv_nxt, c.rcv_edge)) c.rcv_edge = c.rcv_nxt;
  forget_out_of_order(c);
  owe_ack(c);
  tell_readable(c);
  switch (c.state) {
    case State::kEstablished:
      c.state = State::kCloseWait;
      break;
    case State::kFinWait1:
      c.state = State::kClosing;
      break;
    case State::kFinWait2:
      c.state = State::kTimeWait;
      c.expire_at = kNever;
      maybe_finish(c, now);
      break;
    default:
      break;
  }
}

void Stack::challenge(Connection& c, Time now) {
  constexpr Time kSecond = 1'000'000;
  if (now / kSecond != challenge_second_) {
    challenge_second_ = now / kSecond;
    challenges_left_ = limits::kChallengeAcksPerSecond;
  }
  if (challenges_left_ == 0) return;
  --challenges_left_;
  ++counters_.challenge_acks;
  owe_ack(c);
}

}  // namespace netproxy::tcp
