#include "bindings/link.h"

#include <fcntl.h>

#include <cerrno>
#include <system_error>

#include "bindings/check.h"
#include "bindings/cipher.h"
#include "bindings/engine.h"

namespace netproxy::bindings {

namespace {

using ssh::Link;

constexpr size_t kNews = 64;
constexpr size_t kItemWords = sizeof(Link::Item) / sizeof(uint32_t);

uint32_t channel_at(const Napi::CallbackInfo& info) {
  constexpr uint32_t kChannels = 1 << 20;  // far above what one connection may have open
  const uint32_t channel = uint32_at(info, 0, "channel");
  if (channel >= kChannels) throw Napi::RangeError::New(info.Env(), "channel must be below 1048576");
  return channel;
}

Napi::Value number(const Napi::CallbackInfo& info, uint64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

}  // namespace

Napi::Function LinkObject::define(Napi::Env env) {
  return DefineClass(env, "SshLink",
                     {
                         InstanceAccessor<&LinkObject::news>("news"),
                         InstanceAccessor<&LinkObject::totals_array>("totals"),
                         InstanceMethod<&LinkObject::poll>("poll"),
                         InstanceMethod<&LinkObject::messages>("messages"),
                         InstanceMethod<&LinkObject::submit>("submit"),
                         InstanceMethod<&LinkObject::seal_with>("sealWith"),
                         InstanceMethod<&LinkObject::open_with>("openWith"),
                         InstanceMethod<&LinkObject::flush>("flush"),
                         InstanceMethod<&LinkObject::expect>("expect"),
                         InstanceMethod<&LinkObject::unexpect>("unexpect"),
                         InstanceMethod<&LinkObject::keep_to_windows>("keepToWindows"),
                         InstanceMethod<&LinkObject::round_trip>("roundTrip"),
                         InstanceMethod<&LinkObject::attach>("attach"),
                         InstanceMethod<&LinkObject::read_totals>("readTotals"),
                         InstanceMethod<&LinkObject::detach>("detach"),
                         InstanceMethod<&LinkObject::took>("took"),
                         InstanceMethod<&LinkObject::adjust>("adjust"),
                         InstanceMethod<&LinkObject::used>("used"),
                         InstanceMethod<&LinkObject::shared>("shared"),
                         InstanceMethod<&LinkObject::queued>("queued"),
                         InstanceMethod<&LinkObject::sent>("sent"),
                         InstanceMethod<&LinkObject::received>("received"),
                         InstanceMethod<&LinkObject::want_drained>("wantDrained"),
                         InstanceMethod<&LinkObject::close>("close"),
                     });
}

// new SshLink(engine, fd, base, sealer, opener, onNews): for a duplicate of `fd`.
LinkObject::LinkObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LinkObject>(info) {
  const Napi::Env env = info.Env();
  const auto& engine = EngineObject::engine_of(info[0]);
  const uint32_t base = uint32_at(info, 2, "base");
  const auto& sealer = SealerObject::sealer_of(info[3]);
  const auto& opener = OpenerObject::opener_of(info[4]);
  if (!info[5].IsFunction()) throw Napi::TypeError::New(env, "onNews must be a function");
  const int fd = fcntl(static_cast<int>(uint32_at(info, 1, "fd")), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw system_error(env, std::system_error(errno, std::generic_category(), "fcntl"));
  // At most one call is ever queued: the link notifies again only after all was taken.
  napi_value name = Napi::String::New(env, "netproxy ssh link news");
  const napi_status status = napi_create_threadsafe_function(env, info[5], nullptr, name, 0, 1, nullptr,
                                                             nullptr, nullptr, &call_js, &notify_);
  const napi_threadsafe_function notify = notify_;
  link_ = std::make_shared<Link>(engine, fd, base, sealer, opener, [notify] {
    napi_call_threadsafe_function(notify, nullptr, napi_tsfn_nonblocking);
  });
  if (status != napi_ok) throw Napi::Error::New(env, "napi_create_threadsafe_function failed");
  auto news = Napi::Uint32Array::New(env, kNews * kItemWords);
  items_ = reinterpret_cast<Link::Item*>(news.Data());
  news_ = Napi::Persistent(news);
  auto totals = Napi::Float64Array::New(env, 3);
  total_ = totals.Data();
  totals_ = Napi::Persistent(totals);
  try {
    link_->start();
  } catch (const std::system_error& error) {
    stop();
    throw system_error(env, error);
  }
}

void LinkObject::stop() {
  if (stopped_ || link_ == nullptr) return;
  stopped_ = true;
  link_->close();
  napi_release_threadsafe_function(notify_, napi_tsfn_abort);
}

Napi::Value LinkObject::poll(const Napi::CallbackInfo& info) {
  return number(info, stopped_ ? 0 : link_->poll(items_, kNews));
}

Napi::Value LinkObject::messages(const Napi::CallbackInfo& info) {
  const auto taken = stopped_ ? std::vector<uint8_t>() : link_->messages();
  return Napi::Buffer<uint8_t>::Copy(info.Env(), taken.data(), taken.size());
}

Napi::Value LinkObject::submit(const Napi::CallbackInfo& info) {
  auto packet = bytes_at(info, 0, "packet");
  return Napi::Boolean::New(info.Env(), link_->submit(packet.Data(), packet.ByteLength()));
}

void LinkObject::seal_with(const Napi::CallbackInfo& info) {
  link_->seal_with(SealerObject::sealer_of(info[0]));
}

void LinkObject::open_with(const Napi::CallbackInfo& info) {
  link_->open_with(OpenerObject::opener_of(info[0]));
}

void LinkObject::expect(const Napi::CallbackInfo& info) {
  link_->expect(channel_at(info), uint32_at(info, 1, "flow"));
}

Napi::Value LinkObject::unexpect(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), link_->unexpect(channel_at(info)));
}

void LinkObject::keep_to_windows(const Napi::CallbackInfo&) { link_->keep_to_windows(); }

void LinkObject::round_trip(const Napi::CallbackInfo& info) { link_->round_trip(uint32_at(info, 0, "us")); }

void LinkObject::attach(const Napi::CallbackInfo& info) {
  link_->attach(channel_at(info), uint32_at(info, 1, "flow"), uint32_at(info, 2, "remote"),
                uint32_at(info, 3, "window"), uint32_at(info, 4, "largest"));
}

void LinkObject::read_totals(const Napi::CallbackInfo& info) {
  const auto totals = link_->totals(channel_at(info));
  total_[0] = static_cast<double>(totals.sent);
  total_[1] = static_cast<double>(totals.received);
  total_[2] = totals.ended ? 1 : 0;
}

void LinkObject::detach(const Napi::CallbackInfo& info) { link_->detach(channel_at(info)); }

Napi::Value LinkObject::took(const Napi::CallbackInfo& info) {
  const uint32_t bytes = uint32_at(info, 1, "bytes");
  return Napi::Boolean::New(info.Env(), link_->took(channel_at(info), bytes, uint32_at(info, 2, "queued")));
}

Napi::Value LinkObject::adjust(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), link_->adjust(channel_at(info), uint32_at(info, 1, "bytes")));
}

void LinkObject::used(const Napi::CallbackInfo& info) { link_->used(channel_at(info)); }

Napi::Value LinkObject::shared(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), link_->shared());
}

Napi::Value LinkObject::queued(const Napi::CallbackInfo& info) { return number(info, link_->queued()); }

Napi::Value LinkObject::sent(const Napi::CallbackInfo& info) { return number(info, link_->sent()); }

Napi::Value LinkObject::received(const Napi::CallbackInfo& info) { return number(info, link_->received()); }

}  // namespace netproxy::bindings
