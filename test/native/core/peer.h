// The application's kernel as the simulation plays it: a plain TCP that opens actively, written apart
// from the stack under test and slow on purpose (go-back-N, bytes in vectors).
#pragma once

#include <algorithm>
#include <map>

#include "wire.h"

namespace netproxy::test {

class Peer {
 public:
  Peer(const tcp::FlowKey& key, uint64_t isn, int mss)
      : key_(key), iss_(static_cast<uint32_t>(isn)), mss_(mss) {}

  void set_receive_room(uint32_t bytes) { room_ = bytes; }
  void connect(tcp::Time now) {
    state_ = State::kSynSent;
    next_ = now;
  }
  void write(const Bytes& data) { queue_.insert(queue_.end(), data.begin(), data.end()); }
  void end() { end_ = true; }
  // RST, or nothing at all when the connect is still open, as Linux does.
  void abort() {
    reset_owed_ = state_ == State::kOpen;
    state_ = State::kGone;
  }
  void give_up(tcp::Time at) { give_up_ = at; }
  void unreachable() {
    if (state_ == State::kSynSent) state_ = State::kRefused;
  }
  // Whether an ICMP error is about this connect.
  bool quoted_in(const Received& icmp) const {
    const Bytes quoted(icmp.l4.begin() + 8, icmp.l4.end());
    const size_t at = key_.family == 4 ? 20 : 40;
    return icmp.key.family == key_.family && read16(quoted, at) == key_.source_port &&
           read32(quoted, at + 4) == iss_;
  }

  size_t unsent() const { return queue_.size(); }
  bool established() const { return state_ == State::kOpen; }
  bool over() const { return state_ >= State::kFinished; }
  bool was_finished() const { return state_ == State::kFinished; }
  bool was_opened() const { return wl1_ != 0 || una_ != 0; }
  bool was_refused() const { return state_ == State::kRefused; }
  bool at_end() const { return fin_received_ && in_.empty(); }

  Bytes read(size_t max) {
    const size_t length = std::min(max, in_.size());
    Bytes out(in_.begin(), in_.begin() + static_cast<long>(length));
    in_.erase(in_.begin(), in_.begin() + static_cast<long>(length));
    if (state_ == State::kOpen && !fin_received_ && window() >= 2 * static_cast<uint32_t>(mss_) &&
        rcv_nxt_ + window() - told_ < 0x80000000u && rcv_nxt_ + window() - told_ > room_ / 2) {
      ack_owed_ = true;
    }
    return out;
  }

  tcp::Time next_deadline() const {
    if (over()) return tcp::kNever;
    return std::min(next_, std::min(give_up_, state_ == State::kOpen ? heard_ + kKeepalive : tcp::kNever));
  }

  void advance(tcp::Time now) {
    if (over() || state_ == State::kIdle) return;
    if (now >= give_up_) {
      state_ = State::kGone;
      return;
    }
    if (state_ == State::kOpen && now >= heard_ + kKeepalive) {
      heard_ = now;
      keepalive_owed_ = true;
    }
    if (now < next_ || state_ != State::kOpen) return;
    if (++tries_ > kTries) state_ = State::kCut;
    nxt_ = una_;
    probe_ = true;
    next_ = now + wait();
  }

  std::vector<Bytes> output(tcp::Time now) {
    std::vector<Bytes> out;
    if (reset_owed_) {
      reset_owed_ = false;
      out.push_back(segment(reset_bare_ ? packet::kRst : packet::kRst | packet::kAck, reset_sequence(), {}));
    }
    if (state_ == State::kSynSent && now >= next_) {
      next_ = now + (tcp::Time{1'000'000} << std::min(tries_, 6));
      if (++tries_ > 7) {
        state_ = State::kGone;
        return out;
      }
      Bytes options = {2, 4, static_cast<uint8_t>(mss_ >> 8), static_cast<uint8_t>(mss_), 3, 3, kScale};
      out.push_back(segment(packet::kSyn, iss_, {}, options));
    }
    if (state_ == State::kOpen) data(out, now);
    if (keepalive_owed_ && state_ == State::kOpen) out.push_back(segment(packet::kAck, una_ - 1, {}));
    keepalive_owed_ = false;
    if (ack_owed_ && (state_ == State::kOpen || state_ == State::kFinished)) {
      out.push_back(segment(packet::kAck, std::max(max_ - una_, nxt_ - una_) + una_, {}));
    }
    ack_owed_ = false;
    return out;
  }

  void input(const Received& in, tcp::Time now) {
    const Wire& s = in.segment;
    heard_ = now;
    const bool rst = (s.flags & packet::kRst) != 0;
    if (state_ == State::kIdle) return;
    if (state_ > State::kFinished) {
      if (!rst) {
        reset_owed_ = reset_bare_ = true;
        reset_at_ = s.acknowledgement;
      }
      return;
    }
    if (state_ == State::kSynSent) {
      opening(in, now);
      return;
    }
    if (rst) {
      if (s.sequence == rcv_nxt_) {
        // After both FINs the application has what it wanted.
        if (state_ != State::kFinished) state_ = fin_received_ && fin_sent() ? State::kFinished : State::kCut;
      } else if (s.sequence - rcv_nxt_ < window()) {
        ack_owed_ = true;
      }
      return;
    }
    if ((s.flags & packet::kSyn) != 0) {
      ack_owed_ = true;
      return;
    }
    const bool fin = (s.flags & packet::kFin) != 0;
    const auto length = static_cast<uint32_t>(s.payload.size()) + (fin ? 1 : 0);
    const int32_t ahead = static_cast<int32_t>(s.sequence - rcv_nxt_);
    const auto open = static_cast<int32_t>(told_ - rcv_nxt_);
    const bool good =
        length == 0 ? ahead >= 0 && ahead <= open : ahead < open && ahead + static_cast<int32_t>(length) > 0;
    if (!good) {
      ack_owed_ = true;
      return;
    }
    acknowledged(s, now);
    if (s.payload.empty() && !fin) return;
    ack_owed_ = true;
    // Whole segments are kept by their position; overlaps are cut when they are joined.
    const uint64_t position = base_ + static_cast<uint64_t>(static_cast<int64_t>(ahead));
    if (ahead <= 0) {
      join(position, s.payload);
    } else if (early_.size() < 200) {
      Bytes& kept = early_[position];
      if (kept.size() < s.payload.size()) kept = s.payload;
    }
    while (!early_.empty() && early_.begin()->first <= base_) {
      join(early_.begin()->first, early_.begin()->second);
      early_.erase(early_.begin());
    }
    if (fin && !fin_received_ && s.sequence + static_cast<uint32_t>(s.payload.size()) == rcv_nxt_) {
      fin_received_ = true;
      ++rcv_nxt_;
    }
    finish();
  }

 private:
  // kFinished and all behind it are over; behind it the kernel has forgotten the conversation.
  enum class State { kIdle, kSynSent, kOpen, kFinished, kRefused, kCut, kGone };
  static constexpr uint8_t kScale = 5;
  static constexpr int kTries = 25;
  static constexpr tcp::Time kKeepalive = 600'000'000;

  tcp::Time wait() const {
    return std::min<tcp::Time>(tcp::Time{200'000} << std::min(tries_, 10), 20'000'000);
  }
  uint32_t window() const { return in_.size() >= room_ ? 0 : room_ - static_cast<uint32_t>(in_.size()); }
  bool fin_sent() const { return end_ && max_ - una_ == queue_.size() + 1; }
  uint32_t reset_sequence() const { return reset_bare_ ? reset_at_ : max_; }

  void opening(const Received& in, tcp::Time now) {
    const Wire& s = in.segment;
    if ((s.flags & packet::kAck) == 0 || s.acknowledgement != iss_ + 1) return;
    if ((s.flags & packet::kRst) != 0) {
      state_ = State::kRefused;
      return;
    }
    if ((s.flags & packet::kSyn) == 0) return;
    state_ = State::kOpen;
    una_ = nxt_ = max_ = iss_ + 1;
    rcv_nxt_ = s.sequence + 1;
    told_ = rcv_nxt_ + std::min<uint32_t>(room_, 65'535);
    scale_ = std::max(in.scale, 0);
    wnd_ = s.window;
    wl1_ = s.sequence;
    wl2_ = s.acknowledgement;
    tries_ = 0;
    next_ = tcp::kNever;
    heard_ = now;
    ack_owed_ = true;
  }

  void acknowledged(const Wire& s, tcp::Time now) {
    const uint32_t advance = s.acknowledgement - una_;
    if (advance > max_ - una_) {
      if (advance < 0x80000000u) ack_owed_ = true;
      return;
    }
    tries_ = std::min(tries_, 8);
    if (advance > 0) {
      const auto bytes = std::min<size_t>(advance, queue_.size());
      fin_acknowledged_ = fin_acknowledged_ || advance > bytes;
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<long>(bytes));
      una_ = s.acknowledgement;
      if (nxt_ - una_ > 0x80000000u) nxt_ = una_;
      tries_ = 0;
      next_ = una_ == max_ ? tcp::kNever : now + wait();
    }
    const auto newer = static_cast<int32_t>(s.sequence - wl1_);
    if (newer > 0 || (newer == 0 && static_cast<int32_t>(s.acknowledgement - wl2_) >= 0)) {
      const uint32_t window = uint32_t{s.window} << scale_;
      if (wnd_ == 0 && window > 0) nxt_ = una_;
      wnd_ = window;
      wl1_ = s.sequence;
      wl2_ = s.acknowledgement;
    }
    finish();
  }

  void join(uint64_t position, const Bytes& bytes) {
    const auto known = static_cast<size_t>(base_ - position);
    if (known >= bytes.size()) return;
    const size_t length = std::min<size_t>(bytes.size() - known, told_ - rcv_nxt_);
    in_.insert(in_.end(), bytes.begin() + static_cast<long>(known),
               bytes.begin() + static_cast<long>(known + length));
    base_ += length;
    rcv_nxt_ += static_cast<uint32_t>(length);
  }

  void finish() {
    if (fin_received_ && fin_acknowledged_ && state_ == State::kOpen) state_ = State::kFinished;
  }

  void data(std::vector<Bytes>& out, tcp::Time now) {
    while (!fin_acknowledged_) {
      const uint32_t flying = nxt_ - una_;
      if (flying > queue_.size()) break;
      const size_t waiting = queue_.size() - flying;
      const uint32_t open = wnd_ > flying ? wnd_ - flying : 0;
      size_t length = std::min({waiting, size_t{open}, size_t{60'000}});
      if (length == 0 && waiting > 0 && probe_ && flying == 0) length = 1;
      probe_ = false;
      const bool fin = end_ && length == waiting;
      if (length == 0 && !fin) {
        if (waiting > 0 && next_ == tcp::kNever) next_ = now + wait();
        break;
      }
      const Bytes part(queue_.begin() + flying, queue_.begin() + flying + static_cast<long>(length));
      const uint32_t at = nxt_;
      nxt_ += static_cast<uint32_t>(length) + (fin ? 1 : 0);
      if (static_cast<int32_t>(nxt_ - max_) > 0) max_ = nxt_;
      out.push_back(segment(packet::kAck | packet::kPsh | (fin ? packet::kFin : 0), at, part));
      if (next_ == tcp::kNever) next_ = now + wait();
      ack_owed_ = false;
      if (fin) break;
    }
    probe_ = false;
  }

  Bytes segment(int flags, uint32_t sequence, const Bytes& payload, const Bytes& options = {}) {
    const bool syn = (flags & packet::kSyn) != 0;
    if (!syn && state_ == State::kOpen) {
      const uint32_t edge = rcv_nxt_ + window();
      if (static_cast<int32_t>(edge - told_) > 0) told_ = edge;
    }
    const uint32_t offer = syn ? std::min<uint32_t>(room_, 65'535) : (told_ - rcv_nxt_) >> kScale;
    return build(key_, {.sequence = sequence,
                        .acknowledgement = (flags & packet::kAck) != 0 ? rcv_nxt_ : 0,
                        .flags = static_cast<uint8_t>(flags),
                        .window = static_cast<uint16_t>(std::min<uint32_t>(offer, 65'535)),
                        .options = options,
                        .payload = payload});
  }

  const tcp::FlowKey key_;
  const uint32_t iss_;
  const int mss_;
  State state_ = State::kIdle;
  // Sending: queue_[0] has number una_.
  Bytes queue_;
  bool end_ = false, fin_acknowledged_ = false, probe_ = false;
  uint32_t una_ = 0, nxt_ = 0, max_ = 0, wnd_ = 0, wl1_ = 0, wl2_ = 0;
  int scale_ = 0;
  // Receiving: base_ is the position of number rcv_nxt_.
  Bytes in_;
  std::map<uint64_t, Bytes> early_;
  uint64_t base_ = uint64_t{1} << 33;  // far from zero, since a repeated segment begins before it
  uint32_t rcv_nxt_ = 0, told_ = 0, room_ = 65'535;
  bool fin_received_ = false;
  // Owed and timed.
  bool ack_owed_ = false, keepalive_owed_ = false, reset_owed_ = false, reset_bare_ = false;
  uint32_t reset_at_ = 0;
  int tries_ = 0;
  tcp::Time next_ = tcp::kNever, give_up_ = tcp::kNever, heard_ = 0;
};

}  // namespace netproxy::test
