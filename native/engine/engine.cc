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

void poll_for_input(int poll, int fd) {
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
  poll_for_input(poll_, tun_);
  poll_for_input(poll_, wake_);
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
  watches_.clear();
  joins_.clear();
  ready_.clear();
  appointments_.clear();
  close(tun_);
  close(wake_);
  close(poll_);
}

void Engine::run() {
  pthread_setname_np(pthread_self(), "netproxy-engine");
  bool more = false;
  while (!stopping_) {
    int timeout = 0;
    if (!more && unfinished_.empty()) {
      const std::lock_guard lock(mutex_);
      // Another thread may have called serve_again() while this one was awake, and so without wake().
      sleeping_until_ = stack_.output_owed() || !ready_.empty() ? 0 : next_deadline();
      timeout = wait_for(sleeping_until_);
    }
    bool readable = more;
    if (!more) {
      epoll_event ready[8];
      const int count = epoll_wait(poll_, ready, 8, timeout);
      for (int i = 0; i < count; ++i) {
        if (ready[i].data.fd == tun_) {
          readable = true;
        } else if (ready[i].data.fd == wake_) {
          uint64_t ignored;
          [[maybe_unused]] const ssize_t drained = ::read(wake_, &ignored, sizeof ignored);
        } else {
          polled(ready[i].data.fd, ready[i].events);
        }
      }
    }
    more = readable && read_batch();
    {
      const std::lock_guard lock(mutex_);
      sleeping_until_ = 0;
      stack_.advance(now());
      keep_appointments();
    }
    serve();
    flush();
    notify_if_due();
  }
}

// Lets outlets take what came for them.
void Engine::serve() {
  {
    const std::lock_guard lock(mutex_);
    serving_.swap(ready_);
  }
  std::vector<std::shared_ptr<Outlet>> again;
  again.swap(unfinished_);
  const auto call = [this](const std::shared_ptr<Outlet>& outlet, const std::vector<uint32_t>& channels) {
    const bool known = std::find(unfinished_.begin(), unfinished_.end(), outlet) != unfinished_.end();
    if (outlet->serve(channels) && !known) unfinished_.push_back(outlet);
  };
  for (size_t at = 0; at < serving_.size();) {
    const std::shared_ptr<Outlet>& outlet = serving_[at].outlet;
    std::vector<uint32_t> channels;
    for (; at < serving_.size() && serving_[at].outlet == outlet; ++at) {
      const auto& [id, channel, _, drained] = serving_[at];
      if (drained) {
        outlet->drained(channel);
      } else if (channel != kNoChannel) {
        channels.push_back(channel);
      }
    }
    call(outlet, channels);
  }
  serving_.clear();
  for (const auto& outlet : again) call(outlet, {});
}

void Engine::polled(int fd, uint32_t events) {
  std::shared_ptr<Outlet> outlet;
  {
    const std::lock_guard lock(mutex_);
    for (const Watch& watch : watches_) {
      if (watch.fd == fd) outlet = watch.outlet;
    }
  }
  if (outlet == nullptr) return;
  outlet->polled(events);
  if (std::find(unfinished_.begin(), unfinished_.end(), outlet) == unfinished_.end()) {
    unfinished_.push_back(std::move(outlet));
  }
}

void Engine::join(tcp::FlowId id, std::shared_ptr<Outlet> outlet, uint32_t channel) {
  const std::lock_guard lock(mutex_);
  // The application may have given up meanwhile, and another flow have the slot.
  if (!stack_.has(id)) return;
  const size_t slot = id & tcp::kSlotMask;
  if (slot >= joins_.size()) joins_.resize(slot + 1);
  joins_[slot] = {.id = id, .channel = channel, .outlet = std::move(outlet)};
}

void Engine::unjoin(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  const size_t slot = id & tcp::kSlotMask;
  if (slot < joins_.size() && joins_[slot].id == id) joins_[slot] = {};
}

void Engine::serve_again(std::shared_ptr<Outlet> outlet) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  ready_.push_back({.channel = kNoChannel, .outlet = std::move(outlet)});
  if (sleeping_until_ != 0) wake();
}

void Engine::serve_by(std::shared_ptr<Outlet> outlet, tcp::Time at) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  appointments_.push_back({at, std::move(outlet)});
  if (at < sleeping_until_) wake();
}

void Engine::keep_appointments() {
  const tcp::Time at = appointments_.empty() ? 0 : now();
  for (size_t i = 0; i < appointments_.size();) {
    if (appointments_[i].at > at) {
      ++i;
      continue;
    }
    unfinished_.push_back(std::move(appointments_[i].outlet));
    appointments_[i] = std::move(appointments_.back());
    appointments_.pop_back();
  }
}

tcp::Time Engine::next_deadline() const {
  tcp::Time next = stack_.next_deadline();
  if (!notified_) next = std::min(next, events_due_);
  for (const Appointment& appointment : appointments_) next = std::min(next, appointment.at);
  return next;
}

void Engine::watch(int fd, std::shared_ptr<Outlet> outlet) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  epoll_event event{};
  // Told once each time (EPOLLET, epoll(7)).
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET;
  event.data.fd = fd;
  checked(epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  watches_.push_back({fd, std::move(outlet)});
}

void Engine::unwatch(int fd) {
  const std::lock_guard lock(mutex_);
  std::erase_if(watches_, [fd](const Watch& watch) { return watch.fd == fd; });
  if (!closed_) epoll_ctl(poll_, EPOLL_CTL_DEL, fd, nullptr);
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
  if (next_deadline() < sleeping_until_) wake();
}

void Engine::wake() {
  sleeping_until_ = 0;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

void Engine::notify_if_due() {
  {
    const std::lock_guard lock(mutex_);
    if (notified_ || events_.empty()) return;
    if (events_due_ > 0 && events_due_ > now()) {
      if (events_due_ < sleeping_until_) wake();
      return;
    }
    notified_ = true;
  }
  notify_();
}

void Engine::device_lost() {
  const std::lock_guard lock(mutex_);
  tell({.type = EventType::kDeviceLost});
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
    events_due_ = tcp::kNever;
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

void Engine::drop(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  stack_.drop(id);
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

size_t Engine::deliver(tcp::FlowId id, const uint8_t* data, size_t length) {
  const std::lock_guard lock(mutex_);
  const size_t queued = stack_.write(id, data, length);
  if (queued <= limits::kInlineWriteBytes) emit_now(id);
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
  // Only the engine thread calls outlets from here.
  if (!ready_.empty() && sleeping_until_ != 0) wake();
  return events_read_ < events_.size();
}

void Engine::settle_and_notify() {
  if (settle()) notify_if_due();
}

bool Engine::ended(tcp::FlowId id) {
  const std::lock_guard lock(mutex_);
  return stack_.ended(id);
}

Engine::Snapshot Engine::snapshot() {
  const std::lock_guard lock(mutex_);
  return {stack_.flows(),         stack_.pending_dials(),  stack_.timers(),  slabs_.in_use(),
          stack_.blocks_in_use(), stack_.received_bytes(), stack_.counters()};
}

void Engine::tell(const Event& event) {
  events_.push_back(event);
  const bool can_wait =
      event.type == EventType::kClosed && event.value == static_cast<uint32_t>(tcp::End::kFinished);
  if (events_due_ > 0) events_due_ = can_wait ? std::min(events_due_, now() + limits::kNewsDelayUs) : 0;
}

void Engine::opened(const tcp::Connection& c) {
  tell({.type = EventType::kOpened,
        .flow = c.id,
        .value = c.key.family,
        .source_port = c.key.source_port,
        .destination_port = c.key.destination_port,
        .source = c.key.source,
        .destination = c.key.destination});
}

const Engine::Join* Engine::joined(tcp::FlowId id) const {
  const size_t slot = id & tcp::kSlotMask;
  const bool is = slot < joins_.size() && joins_[slot].id == id && joins_[slot].outlet != nullptr;
  return is ? &joins_[slot] : nullptr;
}

void Engine::readable(tcp::FlowId id) {
  if (const Join* const join = joined(id)) {
    ready_.push_back(*join);
  } else {
    tell({.type = EventType::kReadable, .flow = id});
  }
}

void Engine::drained(tcp::FlowId id) {
  if (const Join* const join = joined(id)) {
    ready_.push_back(*join);
    ready_.back().drained = true;
  } else {
    tell({.type = EventType::kDrained, .flow = id});
  }
}

void Engine::closed(tcp::FlowId id, tcp::End end) {
  tell({.type = EventType::kClosed, .flow = id, .value = static_cast<uint32_t>(end)});
}

}  // namespace netproxy::engine
