// Segments towards the application's kernel.
#include <algorithm>
#include <cstring>

#include "constants.h"
#include "packet/bytes.h"
#include "tcp/sequence.h"
#include "tcp/stack.h"

namespace netproxy::tcp {

using packet::kAck;
using packet::kFin;
using packet::kPsh;
using packet::kRst;
using packet::kSyn;

namespace {

// IP total length is 16 bits; the larger header is subtracted for both families.
constexpr size_t kLargestPayload = 65535 - packet::kIp6Header - packet::kTcpHeader;

constexpr uint8_t kIcmpUnreachable = 3;   // RFC 792
constexpr uint8_t kIcmp6Unreachable = 1;  // RFC 4443

struct UnreachableCode {
  uint8_t ip4;
  uint8_t ip6;
};

UnreachableCode unreachable_code(Reject reason) {
  switch (reason) {
    case Reject::kNetworkUnreachable:
      return {0, 0};  // ENETUNREACH
    case Reject::kProhibited:
      return {13, 1};  // EHOSTUNREACH, over IPv6 EACCES
    default:
      return {1, 3};  // EHOSTUNREACH
  }
}

}  // namespace

bool Stack::next_control(packet::OutPacket& out) {
  if (control_.empty()) return false;
  out = control_.front();
  control_.pop_front();
  return true;
}

bool Stack::output(packet::OutPacket& out, Time now) {
  if (next_control(out)) return true;
  while (!dirty_.empty()) {
    const FlowId id = dirty_.front();
    dirty_.pop_front();
    Connection* c = find(id);
    if (c == nullptr) continue;
    c->dirty = false;
    if (!make_segment(*c, out, now)) continue;
    // One segment a turn, so that flows alternate.
    if (c->state != State::kClosed) mark_dirty(*c);
    return true;
  }
  return false;
}

bool Stack::output_now(FlowId id, packet::OutPacket& out, Time now) {
  Connection* c = find(id);
  return c != nullptr && make_segment(*c, out, now);
}

bool Stack::make_segment(Connection& c, packet::OutPacket& out, Time now) {
  out.piece_count = 0;
  out.payload_length = 0;
  if (c.state == State::kDialing) return false;
  if (c.state == State::kSynReceived) {
    if (!c.ack_owed) return false;
    make_syn_ack(c, out, now);
    return true;
  }
  if (c.can_send_data() && !c.fin_acknowledged()) {
    if (c.resend) {
      make_resend(c, out, now);
      return true;
    }
    if (make_data(c, out, now)) return true;
  }
  if (c.keepalive_owed) {
    // RFC 9293, 3.8.4: a number that the peer has acknowledged makes it answer.
    c.keepalive_owed = false;
    finish_segment(c, out, c.snd_una - 1, kAck);
    return true;
  }
  if (!c.ack_owed) return false;
  finish_segment(c, out, acceptable_sequence(c), kAck);
  return true;
}

// What went highest, unless that lies beyond a window which has closed since (a probe, or a FIN): there
// the peer would not look at the acknowledgement.
uint32_t Stack::acceptable_sequence(const Connection& c) const {
  const uint32_t edge = c.snd_una + c.snd_wnd;
  return before(edge, c.snd_max) ? edge : c.snd_max;
}

// The first packet again, nothing else (RFC 6582, 3.2): what flies behind it may well arrive.
void Stack::make_resend(Connection& c, packet::OutPacket& out, Time now) {
  c.resend = false;
  const uint32_t flew = c.snd_max - c.snd_una;
  const size_t data = std::min<size_t>(flew, c.sending.bytes());
  size_t length = std::min<size_t>(data, kLargestPayload);
  if (c.snd_wnd > 0) length = std::min<size_t>(length, std::max<uint32_t>(c.snd_wnd, c.mss));
  if (length < data && length > c.mss) length -= length % c.mss;
  out.piece_count = c.sending.view(0, length, out.pieces, packet::OutPacket::kPieces);
  out.payload_length = length;
  const bool last = length == data && c.fin_sent() && flew > data;
  arm_retransmit(c, now);
  finish_segment(c, out, c.snd_una, last ? kAck | kPsh | kFin : kAck | kPsh);
}

// RFC 9293, 3.8.6.2.1 (sender's silly window avoidance) without Nagle's delay: what the far end sent
// is never held back, only a piece that the window cuts short is.
bool Stack::make_data(Connection& c, packet::OutPacket& out, Time now) {
  const uint32_t flying = c.snd_nxt - c.snd_una;
  const size_t queued = c.sending.bytes();
  const bool fin_flew = c.fin_sent() && flying > queued;
  if (fin_flew) return false;
  const size_t waiting = queued - flying;
  if (waiting == 0 && !c.fin_queued) return false;

  const size_t window = c.snd_wnd > flying ? c.snd_wnd - flying : 0;
  size_t length = std::min({waiting, window, kLargestPayload});
  if (length < waiting) {
    // More waits than fits: whole segments only, unless this is as large as the window ever was.
    if (length > c.mss) length -= length % c.mss;
    if (length < c.mss && length < c.snd_wnd_max / 2 && !c.probe) length = 0;
    if (length == 0 && flying == 0 && c.probe) length = 1;
  }
  c.probe = false;
  if (length == 0 && waiting > 0) {
    // The window is shut. While something flies its acknowledgement will tell; otherwise we ask.
    if (flying == 0 && c.retransmit_at == kNever) arm_retransmit(c, now);
    return false;
  }
  size_t viewed = length;
  out.piece_count = c.sending.view(flying, viewed, out.pieces, packet::OutPacket::kPieces);
  out.payload_length = viewed;

  const uint32_t sequence = c.snd_nxt;
  uint8_t flags = kAck;
  c.snd_nxt += static_cast<uint32_t>(viewed);
  if (viewed == waiting) {
    flags |= kPsh;
    if (c.fin_queued) {
      flags |= kFin;
      ++c.snd_nxt;
      if (c.state == State::kEstablished) {
        c.state = State::kFinWait1;
      } else if (c.state == State::kCloseWait) {
        c.state = State::kLastAck;
      }
    }
  }
  if (after(c.snd_nxt, c.snd_max)) c.snd_max = c.snd_nxt;
  if (c.retransmit_at == kNever) arm_retransmit(c, now);
  finish_segment(c, out, sequence, flags);
  return true;
}

void Stack::make_syn_ack(Connection& c, packet::OutPacket& out, Time now) {
  c.ack_owed = false;
  c.snd_nxt = c.iss + 1;
  c.rcv_edge = c.rcv_nxt + std::min<uint32_t>(window_to_offer(c), 65535);  // never scaled on a SYN
  const packet::TcpFields fields{
      .source_port = c.key.destination_port,
      .destination_port = c.key.source_port,
      .sequence = c.iss,
      .acknowledgement = c.rcv_nxt,
      .flags = kSyn | kAck,
      .window = static_cast<uint16_t>(c.rcv_edge - c.rcv_nxt),
      .mss = our_mss(c.key.family),
      .window_scale = c.rcv_scale > 0 ? c.rcv_scale : -1,
  };
  packet::finish_tcp(out, c.key.family, c.key.destination, c.key.source, fields, c.mss);
  ++counters_.segments_out;
  if (c.retransmit_at == kNever) arm_retransmit(c, now);
}

uint32_t Stack::receive_limit() const {
  return received_bytes_ < limits::kReceiveTotalBytes ? limits::kReceiveWindow : limits::kReceiveReserve;
}

uint32_t Stack::window_to_offer(const Connection& c) const {
  const uint32_t limit = receive_limit();
  const size_t held = c.received.bytes();
  return held >= limit ? 0 : limit - static_cast<uint32_t>(held);
}

uint32_t Stack::window_step(const Connection& c) const {
  return std::min<uint32_t>(our_mss(c.key.family), receive_limit() / 2);
}

// RFC 9293, 3.8.6.2.2: the window is opened in steps worth a packet, not byte by byte.
bool Stack::window_update_due(const Connection& c) const {
  const uint32_t told = c.rcv_edge - c.rcv_nxt;
  const uint32_t offer = window_to_offer(c);
  return offer > told && offer - told >= std::max(receive_limit() / 4, window_step(c));
}

void Stack::finish_segment(Connection& c, packet::OutPacket& out, uint32_t sequence, uint8_t flags) {
  c.ack_owed = false;
  c.ack_at = kNever;
  // The right edge never moves back (RFC 9293, 3.8.6), and forward only by a step worth sending into
  // (3.8.6.2.2). What is told is rounded down to the scale, but all up to the edge is taken (RFC 7323, 2.4).
  const uint32_t edge = c.rcv_nxt + std::min(window_to_offer(c), 65535u << c.rcv_scale);
  if (!before(edge, c.rcv_edge + window_step(c))) c.rcv_edge = edge;
  const uint32_t told = (c.rcv_edge - c.rcv_nxt) >> c.rcv_scale;
  const packet::TcpFields fields{
      .source_port = c.key.destination_port,
      .destination_port = c.key.source_port,
      .sequence = sequence,
      .acknowledgement = c.rcv_nxt,
      .flags = flags,
      .window = static_cast<uint16_t>(std::min<uint32_t>(told, 65535)),
      .mss = 0,
      .window_scale = -1,
  };
  packet::finish_tcp(out, c.key.family, c.key.destination, c.key.source, fields, c.mss);
  ++counters_.segments_out;
}

void Stack::send_reset(const FlowKey& key, uint32_t sequence, uint32_t acknowledgement, bool with_ack) {
  packet::OutPacket out;
  const packet::TcpFields fields{
      .source_port = key.destination_port,
      .destination_port = key.source_port,
      .sequence = sequence,
      .acknowledgement = with_ack ? acknowledgement : 0,
      .flags = static_cast<uint8_t>(with_ack ? kRst | kAck : kRst),
      .window = 0,
      .mss = 0,
      .window_scale = -1,
  };
  packet::finish_tcp(out, key.family, key.destination, key.source, fields, 0xffff);
  ++counters_.resets_sent;
  control(out);
}

// Quotes the SYN as it was, as far as the receiver looks: addresses, ports, sequence number.
void Stack::send_unreachable(const Connection& c, Reject reason) {
  uint8_t quoted[packet::kIp6Header + packet::kTcpHeader];
  const size_t ip_size = packet::write_ip_header(quoted, c.key.family, c.key.source, c.key.destination,
                                                 packet::kProtocolTcp, packet::kTcpHeader);
  packet::write_tcp_header(quoted + ip_size, {.source_port = c.key.source_port,
                                              .destination_port = c.key.destination_port,
                                              .sequence = c.irs,
                                              .acknowledgement = 0,
                                              .flags = kSyn,
                                              .window = 0,
                                              .mss = 0,
                                              .window_scale = -1});
  const UnreachableCode code = unreachable_code(reason);
  packet::OutPacket out;
  packet::finish_unreachable(out, c.key.family, c.key.destination, c.key.source,
                             c.key.family == 4 ? kIcmpUnreachable : kIcmp6Unreachable,
                             c.key.family == 4 ? code.ip4 : code.ip6, quoted, ip_size + packet::kTcpHeader);
  control(out);
}

void Stack::arm_retransmit(Connection& c, Time now) {
  const Time wait = std::min(limits::kRetransmitFirstUs << c.retransmits, limits::kRetransmitLastUs);
  c.retransmit_at = now + wait;
  schedule(c);
}

}  // namespace netproxy::tcp
