// The TCP endpoint of all flows: packets and time in, packets and events out. It does no I/O, owns no
// clock and no thread; its owner serialises all calls.
//
// In packet order: input.cc takes a segment, stack.cc finds or makes its flow and does what the
// application of this endpoint asks, output.cc makes the segments that are owed, timers.cc what time
// asks for.
#pragma once

#include <cstdint>
#include <deque>
#include <queue>
#include <unordered_map>
#include <vector>

#include "engine/slabs.h"
#include "packet/out.h"
#include "packet/tcp.h"
#include "tcp/connection.h"
#include "tcp/isn.h"

namespace netproxy::tcp {

// What the stack tells its owner. Called from within the stack: must not call back into it.
class Events {
 public:
  virtual ~Events() = default;
  virtual void opened(const Connection& connection) = 0;
  virtual void readable(FlowId id) = 0;
  virtual void drained(FlowId id) = 0;
  virtual void closed(FlowId id, End end) = 0;
  // True while so many events wait that no flow should be added: SYNs are then dropped. Every other
  // event is one of a few that a flow can have unread, so that this bounds them all.
  virtual bool crowded() const { return false; }
};

// Why a connect is refused; the numbers are shared with src/engine/events.ts.
enum class Reject : uint32_t { kRefused = 0, kNetworkUnreachable = 1, kHostUnreachable = 2, kProhibited = 3 };

struct Config {
  HashKey secret;
  uint16_t mtu;
  Time ack_delay = 0;  // how long a lone small segment may wait to be acknowledged by data
};

struct Counters {
  uint64_t segments_in = 0;
  uint64_t segments_out = 0;
  uint64_t retransmits = 0;
  uint64_t out_of_order = 0;
  uint64_t malformed = 0;
  uint64_t syns_dropped = 0;         // all of them
  uint64_t syns_dropped_target = 0;  // of these, for kPendingDialsPerTarget
  uint64_t over_budget = 0;          // payloads dropped for kReceiveTotalBytes
  uint64_t control_dropped = 0;      // RSTs and ICMP errors dropped for kControlQueue
  uint64_t keepalives = 0;           // probes sent
  uint64_t resets_sent = 0;
  uint64_t challenge_acks = 0;
};

class Stack {
 public:
  Stack(const Config& config, engine::Slabs& slabs, Events& events);

  // --- packets in -----------------------------------------------------------------------------
  // A TCP packet whose checksum is good, read into `slab` (kNone: the payload is copied).
  void input(const packet::IpPacket& ip, uint32_t slab, Time now);

  // --- what the owner asks; a number that is not in use is ignored ----------------------------
  void accept(FlowId id);
  void reject(FlowId id, Reject reason);
  // Forgets a flow that waits for its answer, as if its SYN had been lost: a further one is a new flow.
  void drop(FlowId id);
  void abort(FlowId id);
  // Bytes queued afterwards. 0 also when the flow is gone.
  size_t write(FlowId id, const uint8_t* data, size_t length);
  void end(FlowId id);
  ReceiveQueue::View peek(FlowId id, size_t max);
  // The same where the bytes lie, when that is a slab; and by copy. They stay until consume().
  ReceiveQueue::InSlab front(FlowId id);
  size_t read(FlowId id, uint8_t* out, size_t max);
  // True when the application has closed its half and nothing waits.
  bool consume(FlowId id, size_t length, Time now);
  bool ended(FlowId id);

  // --- packets out ----------------------------------------------------------------------------
  // Makes the next packet that is owed; false when none is. Its pieces stay valid until the next
  // input(), which must therefore not run while the packet is being written.
  bool output(packet::OutPacket& out, Time now);
  // The same for one flow only, when it has nothing to wait behind: for small writes at once.
  bool output_now(FlowId id, packet::OutPacket& out, Time now);
  // Packets of no flow (RST, ICMP errors): queued, or dropped when the queue is full; and the next one.
  void control(const packet::OutPacket& out);
  bool next_control(packet::OutPacket& out);
  bool output_owed() const { return !dirty_.empty() || !control_.empty(); }

  // --- time -----------------------------------------------------------------------------------
  Time next_deadline() const {
    const Time timer = timers_.empty() ? kNever : timers_.top().at;
    return timer < sweep_at_ ? timer : sweep_at_;
  }
  void advance(Time now);
  // Frees what retired flows held. No packet made before may be in use.
  void collect() { blocks_.collect(); }

  // Whether a flow of this number is there: its slot may be another's by now.
  bool has(FlowId id) { return find(id) != nullptr; }
  size_t flows() const { return by_key_.size(); }
  size_t pending_dials() const { return pending_; }
  size_t timers() const { return timers_.size(); }
  size_t blocks_in_use() const { return blocks_.in_use(); }
  size_t received_bytes() const { return received_bytes_; }
  const Counters& counters() const { return counters_; }

 private:
  struct KeyHash {
    HashKey secret;
    size_t operator()(const FlowKey& key) const { return hash(secret, key); }
  };
  struct Timer {
    Time at;
    FlowId id;
    bool operator>(const Timer& other) const { return at > other.at; }
  };

  // stack.cc
  Connection* find(FlowId id);
  Connection* open(const FlowKey& key, const packet::TcpSegment& segment, Time now);
  void release(Connection& connection);
  void dial_over(const Connection& connection);
  void finish(Connection& connection, End end);
  void tell_readable(Connection& connection);
  void tell_closed(Connection& connection, End end);
  void maybe_finish(Connection& connection, Time now);
  void owe_ack(Connection& connection);
  void owe_ack_soon(Connection& connection, Time now);
  void mark_dirty(Connection& connection);
  uint16_t our_mss(uint8_t family) const;

  // input.cc
  void input_dialing(Connection& connection, const packet::TcpSegment& segment, Time now);
  void input_segment(Connection& connection, const packet::TcpSegment& segment, uint32_t slab, Time now);
  bool acceptable(const Connection& connection, const packet::TcpSegment& segment) const;
  bool input_ack(Connection& connection, const packet::TcpSegment& segment, Time now);
  void input_data(Connection& connection, const packet::TcpSegment& segment, uint32_t slab, Time now);
  void input_fin(Connection& connection, Time now);
  using Pieces = decltype(Connection::out_of_order);
  void keep_out_of_order(Connection& connection, uint32_t sequence, const uint8_t* data, uint32_t length);
  Pieces::iterator drop_piece(Connection& connection, Pieces::iterator piece);
  void deliver_out_of_order(Connection& connection);
  void forget_out_of_order(Connection& connection);
  void resend_first(Connection& connection);
  void challenge(Connection& connection, Time now);
  void acknowledged(Connection& connection, uint32_t acknowledgement, Time now);

  // output.cc
  bool make_segment(Connection& connection, packet::OutPacket& out, Time now);
  bool make_data(Connection& connection, packet::OutPacket& out, Time now);
  void make_resend(Connection& connection, packet::OutPacket& out, Time now);
  void make_syn_ack(Connection& connection, packet::OutPacket& out, Time now);
  void finish_segment(Connection& connection, packet::OutPacket& out, uint32_t sequence, uint8_t flags);
  uint32_t receive_limit() const;
  uint32_t window_step(const Connection& connection) const;
  uint32_t window_to_offer(const Connection& connection) const;
  uint32_t acceptable_sequence(const Connection& connection) const;
  bool window_update_due(const Connection& connection) const;
  void send_reset(const FlowKey& key, uint32_t sequence, uint32_t acknowledgement, bool with_ack);
  void send_unreachable(const Connection& connection, Reject reason);
  void arm_retransmit(Connection& connection, Time now);

  // timers.cc
  void schedule(Connection& connection);
  void retransmit(Connection& connection, Time now);
  void sweep(Time now);

  Config config_;
  engine::Slabs& slabs_;
  Events& events_;
  BlockPool blocks_;
  std::deque<Connection> slots_;  // a deque, since references must survive growth
  std::vector<uint16_t> generations_;
  std::deque<uint32_t> free_slots_;  // oldest first
  std::unordered_map<FlowKey, uint32_t, KeyHash> by_key_;
  std::unordered_map<FlowKey, uint32_t, KeyHash> pending_by_target_;  // source left empty
  std::deque<FlowId> dirty_;
  std::deque<packet::OutPacket> control_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<Timer>> timers_;
  size_t pending_ = 0;
  size_t received_bytes_ = 0;
  Time sweep_at_ = kNever;  // kNever: no flow
  Time challenge_second_ = kNever;
  uint32_t challenges_left_ = 0;
  Counters counters_;
};

}  // namespace netproxy::tcp
