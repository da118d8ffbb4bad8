#include "ssh/link.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "constants.h"
#include "engine/clock.h"

namespace netproxy::ssh {

Link::Link(std::shared_ptr<engine::Engine> engine, int fd, uint32_t base, std::shared_ptr<Sealer> sealer,
           std::shared_ptr<Opener> opener, std::function<void()> notify)
    : engine_(std::move(engine)),
      notify_(std::move(notify)),
      base_(base),
      opener_(std::move(opener)),
      received_(new uint8_t[limits::kReceiveBufferBytes]),
      fd_(fd),
      sealer_(std::move(sealer)) {
  buffer_.resize(limits::kSendBufferBytes);
}

Link::~Link() {
  if (fd_ >= 0) ::close(fd_);
}

void Link::start() { engine_->watch(fd_, shared_from_this()); }

void Link::close() {
  const std::lock_guard receiving(receive_mutex_);
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  for (const auto& channel : channels_) {
    if (channel != nullptr) engine_->unjoin(channel->flow);
  }
  engine_->unwatch(fd_);
  ::close(fd_);
  fd_ = -1;
}

Link::Channel* Link::find(uint32_t channel) {
  return channel < channels_.size() ? channels_[channel].get() : nullptr;
}

void Link::attach(uint32_t number, tcp::FlowId flow, uint32_t remote, uint32_t window, uint32_t largest) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  Channel* const early = find(number);
  if (early != nullptr && early->flow == flow) {
    early->early = false;
    return;
  }
  forget(number);
  // The server's first data may stand in the inbox.
  add(number, flow, remote, window, largest).message = messages_;
  engine_->accept(flow);
  finish(lock);
}

Link::Channel& Link::add(uint32_t number, tcp::FlowId flow, uint32_t remote, uint32_t window,
                         uint32_t largest) {
  if (number >= channels_.size()) channels_.resize(size_t{number} + 1);
  // A server that allows packets of no data at all gets the smallest there are.
  channels_[number] = std::make_unique<Channel>(Channel{.number = number,
                                                        .flow = flow,
                                                        .remote = remote,
                                                        .largest = std::max(largest, 1u),
                                                        .credit = Credit(window)});
  engine_->join(flow, shared_from_this(), number);
  // The flow may have bytes that were told of to nobody, or to JavaScript.
  enqueue(*channels_[number]);
  return *channels_[number];
}

void Link::expect(uint32_t number, tcp::FlowId flow) {
  const std::lock_guard lock(mutex_);
  forget(number);
  if (!closed_) expected_.push_back(Expected{.channel = number, .flow = flow, .since = engine::now()});
}

// An expectation that outlived its flow would take the place of another's, whose slot is the same.
void Link::forget(uint32_t number) {
  std::erase_if(expected_, [number](const Expected& each) { return each.channel == number; });
}

bool Link::unexpect(uint32_t number) {
  const std::lock_guard lock(mutex_);
  forget(number);
  Channel* const channel = find(number);
  if (channel == nullptr || !channel->early) return false;
  remove(*channel);
  return true;
}

void Link::round_trip(Time us) {
  std::unique_lock lock(mutex_);
  shorten(us);
  if (closed_) return;
  lift_limits();
  finish(lock);
}

// What the window allows on its way is all that the server reads ahead of us, and it copies what it has read
// ahead: no more than a fast connection has under way at that round trip.
void Link::shorten(Time us) {
  if (us >= round_trip_) return;
  round_trip_ = us;
  window_max_ =
      std::clamp(us * limits::kWindowBytesPerUs, limits::kChannelWindowShort, limits::kChannelWindowMax);
}

Link::Totals Link::totals(uint32_t number) {
  const std::lock_guard lock(mutex_);
  Channel* const channel = find(number);
  if (channel == nullptr) return {};
  channel->totals.ended = channel->ended;
  return channel->totals;
}

void Link::detach(uint32_t number) {
  const std::lock_guard lock(mutex_);
  Channel* const channel = find(number);
  if (channel != nullptr) remove(*channel);
}

void Link::remove(const Channel& channel) {
  const uint32_t number = channel.number;
  engine_->unjoin(channel.flow);
  channels_[number].reset();
  // The number may soon be another channel's.
  std::erase_if(news_, [number](const Item& item) {
    return item.channel == number && (item.news == News::kEnded || item.news == News::kOverrun);
  });
}

size_t Link::poll(Item* out, size_t max) {
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(max, news_.size());
  std::copy_n(news_.begin(), count, out);
  news_.erase(news_.begin(), news_.begin() + static_cast<ptrdiff_t>(count));
  if (news_.empty() && inbox_.empty()) notified_ = false;
  return count;
}

std::vector<uint8_t> Link::messages() {
  std::unique_lock lock(mutex_);
  messages_done_ = messages_taken_;
  messages_taken_ = messages_;
  std::vector<uint8_t> taken;
  taken.swap(inbox_);
  if (news_.empty()) notified_ = false;
  const bool again = stalled_ && taken.empty();
  if (again) stalled_ = false;
  lock.unlock();
  if (again) engine_->serve_again(shared_from_this());
  return taken;
}

void Link::tell(News news, uint32_t channel, bool at_once) {
  news_.push_back({news, channel});
  notify(at_once);
}

// Under the lock, so that nothing is told once close() has returned.
void Link::notify(bool at_once) {
  if (notified_) return;
  if (at_once) {
    notified_ = true;
    notify_();
  } else if (news_due_ == tcp::kNever) {
    news_due_ = engine::now() + limits::kNewsDelayUs;
    engine_->serve_by(shared_from_this(), news_due_);
  }
}

// JavaScript ends the connection on hearing of it.
void Link::fail(News news) {
  blocked_ = true;
  begin_ = end_ = 0;
  fresh_.clear();
  waiting_.clear();
  tell(news, 0);
}

void Link::polled(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    const std::lock_guard receiving(receive_mutex_);
    readable_ = true;
    if ((events & ~uint32_t{EPOLLIN | EPOLLOUT}) != 0) hung_up_ = true;
  }
  if ((events & EPOLLOUT) != 0) {
    const std::lock_guard lock(mutex_);
    blocked_ = false;
  }
}

void Link::drained(uint32_t number) {
  const std::lock_guard lock(mutex_);
  Channel* const channel = find(number);
  if (channel == nullptr) return;
  channel->lagging = false;
  invite(*channel);
}

// Each packet to the TUN wakes an application, and holds up to 64 KiB of one flow: where flows share what is
// read, several reads make fewer of them.
int Link::reads_in_a_row() {
  const std::lock_guard lock(mutex_);
  const Time now = engine::now();
  return shared(now) && !attended(now) ? limits::kSharedReads : 1;
}

bool Link::serve(const std::vector<uint32_t>& channels) {
  bool more_to_receive = receive();
  for (int left = reads_in_a_row() - 1; left > 0 && more_to_receive; --left) more_to_receive = receive();
  const std::lock_guard lock(mutex_);
  for (const uint32_t number : channels) {
    Channel* const channel = find(number);
    if (channel != nullptr) enqueue(*channel);
  }
  const Time now = engine::now();
  const bool more_to_send = run(budget(now));
  if (news_due_ <= now) {
    news_due_ = tcp::kNever;
    if (!closed_ && (!news_.empty() || !inbox_.empty())) notify(true);
  }
  return more_to_receive || more_to_send;
}

void Link::finish(std::unique_lock<std::mutex>& lock) {
  const bool more = run(budget(engine::now()));
  lock.unlock();
  if (more) engine_->serve_again(shared_from_this());
  engine_->settle_and_notify();
}

}  // namespace netproxy::ssh
