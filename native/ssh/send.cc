// The way out of a connection: flows take turns, and their data is protected and written.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "constants.h"
#include "engine/clock.h"
#include "packet/bytes.h"
#include "ssh/link.h"

namespace netproxy::ssh {

namespace {

constexpr uint8_t kKexInit = 20;        // SSH_MSG_KEXINIT
constexpr uint8_t kEof = 96;            // SSH_MSG_CHANNEL_EOF (RFC 4254, 5.3): channel
constexpr size_t kPayloadAt = 5;        // length field and padding length stand before it
constexpr size_t kPacketOverhead = 64;  // header, padding and tag of one packet, at most

// What a quantum becomes at most, in packets of `largest` bytes of data. Pieces of a flow make packets of
// their own, but not smaller ones than the copy of small pieces joins.
size_t protected_bytes(size_t data, size_t largest) {
  return data + kPacketOverhead * (4 + 4 * (data / std::max<size_t>(largest, 1024)));
}

}  // namespace

void Link::enqueue(Channel& channel) {
  if (channel.queued || channel.ended) return;
  channel.queued = true;
  fresh_.push_back(channel.number);
}

// A flow that had nothing to send goes before those that never run out (as new flows in RFC 8290), but
// not for ever.
Link::Channel* Link::next() {
  while (!fresh_.empty() || !waiting_.empty()) {
    const bool fresh = !fresh_.empty() && (waiting_.empty() || fresh_in_a_row_ < limits::kFreshInARow);
    fresh_in_a_row_ = fresh ? fresh_in_a_row_ + 1 : 0;
    std::deque<uint32_t>& queue = fresh ? fresh_ : waiting_;
    Channel* const channel = find(queue.front());
    queue.pop_front();
    if (channel == nullptr || !channel->queued) continue;
    channel->queued = false;
    return channel;
  }
  return nullptr;
}

bool Link::submit(uint8_t* packet, size_t length) {
  const std::lock_guard lock(mutex_);
  if (closed_) return true;
  if (length > kPayloadAt && packet[kPayloadAt] == kKexInit) held_ = true;
  if (!sealer_->seal(packet, length)) return false;
  reserve(length);
  std::memcpy(buffer_.data() + end_, packet, length);
  end_ += length;
  return true;
}

void Link::flush() {
  std::unique_lock lock(mutex_);
  finish(lock);
}

void Link::seal_with(std::shared_ptr<Sealer> sealer) {
  std::unique_lock lock(mutex_);
  sealer_ = std::move(sealer);
  held_ = false;
  for (const auto& channel : channels_) {
    if (channel != nullptr && channel->invitation > 0) send_invitation(*channel);
  }
  finish(lock);
}

bool Link::adjust(uint32_t number, uint32_t bytes) {
  std::unique_lock lock(mutex_);
  Channel* const channel = find(number);
  if (channel == nullptr) return false;
  channel->credit.adjusted(bytes, engine::now());
  if (!channel->starved) return true;
  channel->starved = false;
  enqueue(*channel);
  finish(lock);
  return true;
}

void Link::note_use(uint32_t channel, Time now) {
  if (channel == last_used_) return;
  if (last_used_ != UINT32_MAX) turns_taken_at_ = now;
  last_used_ = channel;
}

void Link::used(uint32_t channel) {
  const std::lock_guard lock(mutex_);
  if (channel != last_used_) note_use(channel, engine::now());
}

bool Link::shared() {
  const std::lock_guard lock(mutex_);
  return limited(engine::now());
}

void Link::keep_to_windows() {
  const std::lock_guard lock(mutex_);
  limits_ = false;
}

void Link::lift_limits() {
  for (const auto& channel : channels_) {
    if (channel == nullptr || !channel->starved || !channel->credit.lift()) continue;
    channel->starved = false;
    enqueue(*channel);
  }
}

size_t Link::queued() {
  const std::lock_guard lock(mutex_);
  return end_ - begin_;
}

uint64_t Link::sent() {
  const std::lock_guard lock(mutex_);
  return sent_bytes_;
}

void Link::want_drained() {
  const std::lock_guard lock(mutex_);
  if (end_ - begin_ > limits::kSendQueueMark) {
    drained_wanted_ = true;
  } else {
    tell(News::kDrained, 0);
  }
}

bool Link::run(size_t budget) {
  while (!closed_ && !blocked_) {
    if (end_ > begin_ && !gathers() && !write()) return false;
    if (held_) return false;
    Channel* const channel = next();
    if (channel == nullptr) break;
    const uint64_t before = channel->totals.sent;
    if (turn(*channel)) {
      channel->queued = true;
      waiting_.push_back(channel->number);
    }
    const uint64_t moved = channel->totals.sent - before;
    if (moved >= budget) {
      if (end_ > begin_ && !write()) return false;
      return !fresh_.empty() || !waiting_.empty();
    }
    budget -= moved;
  }
  // What was gathered, should those that were to come be gone.
  if (!closed_ && !blocked_ && end_ > begin_) write();
  return false;
}

// Where many flows have little to send, it leaves together: the server's turn, which looks at all of its
// channels, costs more than what it does for one of them. Nothing waits behind the bytes of a bulk flow.
bool Link::gathers() const {
  return !held_ && !fresh_.empty() && end_ - begin_ < limits::kGatherBytes &&
         engine::now() - bulk_turn_at_ >= limits::kSharedUs;
}

bool Link::turn(Channel& channel) {
  const Time now = engine::now();
  const bool together = limited(now);
  const size_t max = std::min<uint64_t>(quantum(now), channel.credit.available(together));
  // With the window shut only the end can be passed on.
  if (max == 0) {
    if (engine_->ended(channel.flow)) {
      send_eof(channel);
    } else {
      channel.starved = true;
    }
    return false;
  }
  const size_t room = protected_bytes(max, channel.largest);
  reserve(room);
  const auto result = sealer_->seal_flow(*engine_, channel.flow, channel.remote, max, channel.largest,
                                         buffer_.data() + end_, buffer_.size() - end_);
  if (result.failed) {
    fail(News::kDamaged);
    return false;
  }
  end_ += result.written;
  channel.totals.sent += result.moved;
  if (result.moved > 0) note_use(channel.number, now);
  if (result.moved > limits::kSmallTurnBytes || !result.drained) {
    bulk_turn_at_ = now;
  } else if (result.moved > 0) {
    small_turn_at_ = now;
  }
  channel.credit.use(result.moved, !result.drained, together, now);
  if (result.ended) {
    send_eof(channel);
    return false;
  }
  return !result.drained;
}

void Link::send_eof(Channel& channel) {
  channel.ended = true;
  uint8_t payload[1 + 4] = {kEof};
  packet::put32(payload + 1, channel.remote);
  send_message(payload, sizeof payload);
  tell(News::kEnded, channel.number, false);
}

void Link::send_message(const uint8_t* payload, size_t length) {
  reserve(Sealer::packet_bytes(length));
  const size_t size = sealer_->seal_payload(payload, length, buffer_.data() + end_);
  if (size == 0) {
    fail(News::kDamaged);
  } else {
    end_ += size;
  }
}

// Makes room at the end of the buffer.
void Link::reserve(size_t room) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ >= room) return;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() - end_ < room) buffer_.resize(end_ + room);
}

// False when the socket takes no more.
bool Link::write() {
  while (begin_ < end_) {
    const ssize_t sent = ::send(fd_, buffer_.data() + begin_, end_ - begin_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        blocked_ = true;
      } else {
        fail(News::kLost);
      }
      return false;
    }
    begin_ += static_cast<size_t>(sent);
    sent_bytes_ += static_cast<uint64_t>(sent);
  }
  begin_ = end_ = 0;
  if (drained_wanted_) {
    drained_wanted_ = false;
    tell(News::kDrained, 0);
  }
  return true;
}

}  // namespace netproxy::ssh
