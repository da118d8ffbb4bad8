// The way in of a connection: packets are opened, data goes to its flow, all else to the inbox.
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

using packet::get32;
using packet::put32;

constexpr uint8_t kNewKeys = 21;  // SSH_MSG_NEWKEYS (RFC 4253, 12)
// SSH_MSG_CHANNEL_OPEN_CONFIRMATION (RFC 4254, 5.1): our channel, the server's, window, largest packet
constexpr uint8_t kConfirmation = 91;
constexpr size_t kConfirmationBytes = 1 + 4 + 4 + 4 + 4;
constexpr uint8_t kWindowAdjust = 93;  // SSH_MSG_CHANNEL_WINDOW_ADJUST (RFC 4254, 9): channel, bytes to add
constexpr size_t kAdjustBytes = 1 + 4 + 4;
constexpr uint8_t kChannelData = 94;  // SSH_MSG_CHANNEL_DATA: channel, length, data
constexpr size_t kDataHeader = 1 + 4 + 4;
constexpr uint8_t kEof = 96;    // SSH_MSG_CHANNEL_EOF (RFC 4254, 5.3): channel
constexpr uint8_t kClose = 97;  // SSH_MSG_CHANNEL_CLOSE: channel
constexpr size_t kEndBytes = 1 + 4;

}  // namespace

// True when there is more to receive at once.
bool Link::receive() {
  const std::lock_guard receiving(receive_mutex_);
  if (received_at_ == received_end_ && !read()) return false;
  while (received_at_ < received_end_ && !keys_due_) {
    {
      const std::lock_guard lock(mutex_);
      if (stalled_ || closed_) return false;
    }
    const auto result = opener_->open(received_.get(), received_at_, received_end_);
    received_at_ = result.next;
    if (result.status == Opener::Status::kMore) break;
    if (result.status != Opener::Status::kPayload) {
      const std::lock_guard lock(mutex_);
      received_at_ = received_end_ = 0;
      readable_ = false;
      keys_due_ = true;  // nothing else is opened
      fail(News::kDamaged);
      return false;
    }
    take(result.payload, result.payload_length);
  }
  return readable_ && !keys_due_;
}

// Fills the buffer. False when there is nothing.
bool Link::read() {
  const std::lock_guard lock(mutex_);
  if (closed_ || keys_due_ || stalled_ || !readable_) return false;
  ssize_t size;
  do {
    size = recv(fd_, received_.get(), limits::kReceiveBufferBytes, MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) {
    readable_ = false;
    if (size == 0 || errno != EAGAIN) fail(News::kLost);
    return false;
  }
  // Less than there was room for is all there was; what comes later is told of (EPOLLET, epoll(7)).
  if (static_cast<size_t>(size) < limits::kReceiveBufferBytes && !hung_up_) readable_ = false;
  received_at_ = 0;
  received_end_ = static_cast<size_t>(size);
  received_bytes_ += received_end_;
  return true;
}

uint64_t Link::received() {
  const std::lock_guard lock(mutex_);
  return received_bytes_;
}

void Link::open_with(std::shared_ptr<Opener> opener) {
  {
    const std::lock_guard receiving(receive_mutex_);
    opener_ = std::move(opener);
    keys_due_ = false;
  }
  engine_->serve_again(shared_from_this());
}

void Link::take(const uint8_t* payload, size_t length) {
  if (length == 0) return;
  const std::lock_guard lock(mutex_);
  if (payload[0] == kChannelData && take_data(payload, length)) return;
  if (payload[0] == kWindowAdjust && take_adjust(payload, length)) return;
  if (payload[0] == kNewKeys) keys_due_ = true;
  if (payload[0] == kConfirmation) take_confirmation(payload, length);
  // What native code has dealt with already, and what ends a conversation that is over.
  const bool can_wait = payload[0] == kEof     ? take_eof(payload, length)
                        : payload[0] == kClose ? ends_in_order(payload, length)
                                               : false;
  const auto size = static_cast<uint32_t>(length);
  const size_t at = inbox_.size();
  inbox_.resize(at + sizeof size + length);
  std::memcpy(inbox_.data() + at, &size, sizeof size);
  std::memcpy(inbox_.data() + at + sizeof size, payload, length);
  ++messages_;
  if (inbox_.size() >= limits::kInboxBytes) stalled_ = true;
  notify(!can_wait || stalled_);
}

bool Link::take_data(const uint8_t* payload, size_t length) {
  if (length < kDataHeader) return false;
  const uint32_t bytes = get32(payload + 5);
  Channel* const channel = find(get32(payload + 1) - base_);
  if (channel == nullptr || bytes != length - kDataHeader) return false;
  if (messages_done_ < channel->message) {
    // Data that came before still waits for JavaScript, so this must take the same way. Should it come
    // without pause, the inbox fills up, and nothing is received until JavaScript has dealt with it all.
    channel->message = messages_ + 1;
    return false;
  }
  if (channel->number != last_used_) note_use(channel->number, engine::now());
  channel->totals.received += bytes;
  count(*channel, bytes, engine_->deliver(channel->flow, payload + kDataHeader, bytes));
  return true;
}

void Link::take_confirmation(const uint8_t* payload, size_t length) {
  if (length < kConfirmationBytes || expected_.empty()) return;
  const uint32_t number = get32(payload + 1) - base_;
  const auto found = std::find_if(expected_.begin(), expected_.end(),
                                  [number](const Expected& each) { return each.channel == number; });
  if (found == expected_.end()) return;
  const Expected expected = *found;
  *found = expected_.back();
  expected_.pop_back();
  shorten(engine::now() - expected.since);
  const uint32_t largest = std::min(get32(payload + 13), limits::kChannelPacketBytes);
  add(number, expected.flow, get32(payload + 5), get32(payload + 9), largest).early = true;
  engine_->accept(expected.flow);
}

bool Link::take_adjust(const uint8_t* payload, size_t length) {
  Channel* const channel = length == kAdjustBytes ? find(get32(payload + 1) - base_) : nullptr;
  if (channel == nullptr) return false;
  channel->credit.adjusted(get32(payload + 5), engine::now());
  // Whoever calls sends next.
  if (channel->starved) {
    channel->starved = false;
    enqueue(*channel);
  }
  return true;
}

// The server sends no more: so the application is told, unless data that came before waits for JavaScript.
bool Link::take_eof(const uint8_t* payload, size_t length) {
  Channel* const channel = length == kEndBytes ? find(get32(payload + 1) - base_) : nullptr;
  if (channel == nullptr || messages_done_ < channel->message) return false;
  channel->far_ended = true;
  engine_->end(channel->flow);
  return true;
}

bool Link::ends_in_order(const uint8_t* payload, size_t length) {
  const Channel* const channel = length == kEndBytes ? find(get32(payload + 1) - base_) : nullptr;
  return channel != nullptr && channel->ended && channel->far_ended;
}

bool Link::took(uint32_t number, uint32_t bytes, size_t queued) {
  std::unique_lock lock(mutex_);
  Channel* const channel = find(number);
  if (channel == nullptr) return false;
  if (channel->number != last_used_) note_use(channel->number, engine::now());
  // The engine may have sent it since, and told of it before the channel was known to lag.
  if (queued > limits::kSendHighWater && engine_->deliver(channel->flow, nullptr, 0) <= limits::kSendLowWater)
    queued = 0;
  count(*channel, bytes, queued);
  finish(lock);
  return true;
}

// Invites the far end to send more, unless the reader lags.
void Link::count(Channel& channel, uint32_t bytes, size_t queued) {
  if (!channel.window.use(bytes)) {
    tell(News::kOverrun, channel.number);
  } else if (queued > limits::kSendHighWater) {
    channel.lagging = true;
    channel.window.lag();
  } else if (!channel.lagging) {
    invite(channel);
  }
}

void Link::invite(Channel& channel) {
  channel.invitation += channel.window.top_up(window_max_);
  if (channel.invitation > 0 && !held_) send_invitation(channel);
}

void Link::send_invitation(Channel& channel) {
  uint8_t payload[kAdjustBytes];
  payload[0] = kWindowAdjust;
  put32(payload + 1, channel.remote);
  put32(payload + 5, channel.invitation);
  channel.invitation = 0;
  send_message(payload, sizeof payload);
}

}  // namespace netproxy::ssh
