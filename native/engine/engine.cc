#include "engine/engine.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/clock.h"

namespace netproxy::engine {

namespace {

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

void watch(int poll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  checked(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

// Milliseconds for epoll_wait, rounded up so that the deadline has passed when it returns.
int wait_for(tcp::Time deadline) {
  if (deadline == 0) return 0;
  if (deadline == tcp::kNever) return -1;
  const tcp::Time at = now();
  if (deadline <= at) return 0;
  return static_cast<int>(std::min<tcp::Time>((deadline - at + 999) / 1000, 60'000));
}

}  // namespace

Engine::Engine(int tun, const tcp::Config& config, std::function<void()> notify)
    : tun_(tun), notify_(std::move(notify)), stack_(config, slabs_, *this) {
  wake_ = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  poll_ = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  watch(poll_, tun_);
  watch(poll_, wake_);
  thread_ = std::thread([this] { run(); });
}

Engine::~Engine() { stop(); }

void Engine::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  thread_.join();
  const std::lock_guard lock(mutex_);
  closed_ = true;
  close(tun_);
  close(wake_);
  close(poll_);
}

void Engine::run() {
  pthread_setname_np(pthread_self(), "netproxy-engine");
  bool more = false;
  while (!stopping_) {
    int timeout = 0;
    if (!more) {
      const std::lock_guard lock(mutex_);
      sleeping_until_ = stack_.output_owed() ? 0 : stack_.next_deadline();
      timeout = wait_for(sleeping_until_);
    }
    bool readable = more;
    if (!more) {
      epoll_event ready[2];
      const int count = epoll_wait(poll_, ready, 2, timeout);
      for (int i = 0; i < count; ++i) {
        if (ready[i].data.fd == tun_) {
          readable = true;
        } else {
          uint64_t ignored;
          [[maybe_unused]] const ssize_t drained = ::read(wake_, &ignored, sizeof ignored);
        }
      }
    }
    more = readable && read_batch();
    {
      const std::lock_guard lock(mutex_);
      sleeping_until_ = 0;
      stack_.advance(now());
    }
    flush();
    notify_if_due();
  }
}

void Engine::flush() {
  packet::OutPacket batch[limits::kWriteBatch];
  for (;;) {
    int count = 0;
    {
      const std::lock_guard lock(mutex_);
      // Everything made in the former round has been written: nothing refers to retired blocks.
      stack_.collect();
      const tcp::Time at = now();
      while (count < limits::kWriteBatch && stack_.output(batch[count], at)) ++count;
    }
    for (int i = 0; i < count; ++i) emit(batch[i]);
    if (count < limits::kWriteBatch) return;
  }
}

void Engine::emit(const packet::OutPacket& out) {
  if (closed_) return;
  iovec pieces[1 + packet::OutPacket::kPieces];
  pieces[0] = {const_cast<uint8_t*>(out.head), out.head_length};
  std::copy(out.pieces, out.pieces + out.piece_count, pieces + 1);
  ++device_.packets_out;
  // A packet that the device does not take is lost as on any link: it is sent again.
  if (writev(tun_, pieces, 1 + out.piece_count) < 0) ++device_.write_errors;
}

void Engine::emit_now(tcp::FlowId id) {
  packet::OutPacket out;
  while (stack_.output_now(id, out, now())) emit(out);
}

void Engine::emit_control() {
  packet::OutPacket out;
  while (stack_.next_control(out)) emit(out);
}

void Engine::wake_for_deadline() {
  if (closed_) return;
  if (stack_.next_deadline() >= sleeping_until_) return;
  sleeping_until_ = 0;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

void Engine::notify_if_due() {
  {
    const std::lock_guard lock(mutex_);
    if (notified_ || events_.empty()) return;
    notified_ = true;
  }
  notify_();
}

void Engine::device_lost() {
  const std::lock_guard lock(mutex_);
  events_.push_back({.type = EventType::kDeviceLost});
  stopping_ = true;
}

size_t Engine::poll(Event* out, size_t max) {
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(max, events_.size() - events_read_);
  std::copy_n(events_.begin() + static_cast<ptrdiff_t>(events_read_), count, out);
  events_read_ += count;
  if (events_read_ == events_.size()) {
    events_.clear();
    events_read_ = 0;
    if (count < max) notified_ = false;
  }
  return count;
}

void Engine::accept(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  stack_.accept(id);
  emit_now(id);
}

void Engine::reject(tcp::FlowId id, tcp::Reject reason) {
  const std::lock_guard lock(mutex_);
  stack_.reject(id, reason);
  emit_control();
}

void Engine::abort(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  stack_.abort(id);
  emit_control();
}

size_t Engine::write(tcp::FlowId id, const uint8_t* data, size_t length) {
  const std::lock_guard lock(mutex_);
  const size_t queued = stack_.write(id, data, length);
  if (queued <= limits::kInlineWriteBytes) {
    emit_now(id);
  } else if (written_.empty() || written_.back() != id) {
    written_.push_back(id);
  }
  return queued;
}

void Engine::end(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  stack_.end(id);
}

tcp::ReceiveQueue::View Engine::take(tcp::FlowId id, size_t max) {
  const std::lock_guard lock(mutex_);
  return stack_.peek(id, max);
}

Engine::Lent Engine::lend(tcp::FlowId id, uint8_t* out, size_t max) {
  const std::lock_guard lock(mutex_);
  const auto front = stack_.front(id);
  if (front.slab != Slabs::kNone) {
    slabs_.retain(front.slab);
    return {front.data, std::min(max, front.length), front.slab, false};
  }
  const size_t length = stack_.read(id, out, max);
  const bool ended = length > 0 ? stack_.consume(id, length, now()) : stack_.ended(id);
  return {out, length, Slabs::kNone, ended};
}

bool Engine::give_back(tcp::FlowId id, const Lent& lent) {
  const std::lock_guard lock(mutex_);
  slabs_.release(lent.slab);
  return stack_.consume(id, lent.length, now());
}

bool Engine::taken(tcp::FlowId id, size_t length) {
  const std::lock_guard lock(mutex_);
  return stack_.consume(id, length, now());
}

bool Engine::settle() {
  const std::lock_guard lock(mutex_);
  // Data goes out here: the engine thread would only be woken for it, and this thread has it in its
  // cache. Anything else that is owed waits for an engine thread that is awake.
  for (const tcp::FlowId id : written_) emit_now(id);
  written_.clear();
  if (sleeping_until_ != 0) {
    packet::OutPacket out;
    const tcp::Time at = now();
    while (stack_.output(out, at)) emit(out);
    wake_for_deadline();
  }
  return events_read_ < events_.size();
}

bool Engine::ended(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  return stack_.ended(id);
}

Engine::Snapshot Engine::snapshot() {
  const std::lock_guard lock(mutex_);
  return {stack_.flows(),         stack_.pending_dials(),  slabs_.in_use(),
          stack_.blocks_in_use(), stack_.received_bytes(), stack_.counters()};
}

void Engine::opened(const tcp::Connection& c) {
  events_.push_back({.type = EventType::kOpened,
                     .flow = c.id,
                     .value = c.key.family,
                     .source_port = c.key.source_port,
                     .destination_port = c.key.destination_port,
                     .source = c.key.source,
                     .destination = c.key.destination});
}

void Engine::readable(tcp::FlowId id) { events_.push_back({.type = EventType::kReadable, .flow = id}); }

void Engine::drained(tcp::FlowId id) { events_.push_back({.type = EventType::kDrained, .flow = id}); }

void Engine::closed(tcp::FlowId id, tcp::End end) {
  events_.push_back({.type = EventType::kClosed, .flow = id, .value = static_cast<uint32_t>(end)});
}

}  // namespace netproxy::engine
