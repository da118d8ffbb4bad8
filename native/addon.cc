// What JavaScript sees of the native code: argument checks and conversions, nothing else.
// src/core/native.ts is the same surface in types.
#include <napi.h>
#include <sys/random.h>

#include <memory>
#include <string>
#include <system_error>

#include "engine/engine.h"
#include "socket/socket.h"
#include "tun/tun.h"

namespace {

using netproxy::engine::Engine;
using netproxy::engine::Event;
using netproxy::engine::Slabs;

constexpr uint16_t kSmallestMtu = 1280;  // RFC 8200, section 5

// An Error with `code`, `errno` and `syscall` as Node's own system errors have.
Napi::Error system_error(Napi::Env env, const std::system_error& error) {
  auto result = Napi::Error::New(env, error.what());
  const char* const name = strerrorname_np(error.code().value());
  result.Set("code", Napi::String::New(env, name == nullptr ? "UNKNOWN" : name));
  result.Set("errno", Napi::Number::New(env, error.code().value()));
  return result;
}

uint32_t uint32_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsNumber()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a number");
  return info[at].As<Napi::Number>().Uint32Value();
}

Napi::Value open_tun(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "name must be a string");
  try {
    const auto device = netproxy::tun::open(info[0].As<Napi::String>());
    auto result = Napi::Object::New(env);
    result.Set("fd", device.fd);
    result.Set("name", device.name);
    result.Set("segmentation", device.segmentation);
    return result;
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value connect_tcp(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "address must be a string");
  const uint32_t port = uint32_at(info, 1, "port");
  if (port == 0 || port > 65535) throw Napi::RangeError::New(env, "port must be from 1 to 65535");
  try {
    const int fd = netproxy::socket::connect_tcp(
        info[0].As<Napi::String>(), static_cast<uint16_t>(port),
        {.mark = uint32_at(info, 2, "mark"), .user_timeout_ms = uint32_at(info, 3, "userTimeoutMs")});
    return Napi::Number::New(env, fd);
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {
                           InstanceAccessor<&EngineObject::memory>("memory"),
                           InstanceAccessor<&EngineObject::events>("events"),
                           InstanceMethod<&EngineObject::poll>("poll"),
                           InstanceMethod<&EngineObject::accept>("accept"),
                           InstanceMethod<&EngineObject::reject>("reject"),
                           InstanceMethod<&EngineObject::abort>("abort"),
                           InstanceMethod<&EngineObject::write>("write"),
                           InstanceMethod<&EngineObject::end>("end"),
                           InstanceMethod<&EngineObject::take>("take"),
                           InstanceMethod<&EngineObject::taken>("taken"),
                           InstanceMethod<&EngineObject::ended>("ended"),
                           InstanceMethod<&EngineObject::settle>("settle"),
                           InstanceMethod<&EngineObject::counters>("counters"),
                           InstanceMethod<&EngineObject::close>("close"),
                       });
  }

  explicit EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
    const Napi::Env env = info.Env();
    const uint32_t fd = uint32_at(info, 0, "fd");
    const uint32_t mtu = uint32_at(info, 1, "mtu");
    if (mtu < kSmallestMtu || mtu > 65535) throw Napi::RangeError::New(env, "mtu must be from 1280 to 65535");
    if (!info[2].IsFunction()) throw Napi::TypeError::New(env, "onEvents must be a function");

    netproxy::tcp::Config config{.secret = {}, .mtu = static_cast<uint16_t>(mtu)};
    if (getrandom(&config.secret, sizeof config.secret, 0) != sizeof config.secret) {
      throw Napi::Error::New(env, "getrandom gave no bytes");
    }
    // Unbounded, but at most one call is ever queued: the engine notifies again only after a poll.
    napi_value name = Napi::String::New(env, "netproxy engine events");
    const napi_status status = napi_create_threadsafe_function(env, info[2], nullptr, name, 0, 1, nullptr, nullptr,
                                                               nullptr, &EngineObject::call_js, &notify_);
    if (status != napi_ok) throw Napi::Error::New(env, "napi_create_threadsafe_function failed");
    const napi_threadsafe_function notify = notify_;
    try {
      engine_ = std::make_shared<Engine>(static_cast<int>(fd), config, [notify] {
        napi_call_threadsafe_function(notify, nullptr, napi_tsfn_nonblocking);
      });
    } catch (const std::system_error& error) {
      napi_release_threadsafe_function(notify_, napi_tsfn_abort);
      throw system_error(env, error);
    }
    // JavaScript may hold views for longer than this object lives: each keeps the engine's memory.
    auto* const keep = new std::shared_ptr<Engine>(engine_);
    memory_ = Napi::Persistent(Napi::ArrayBuffer::New(
        env, engine_->slabs().memory(), Slabs::bytes(),
        [](Napi::Env, void*, std::shared_ptr<Engine>* kept) { delete kept; }, keep));
    events_ = Napi::Persistent(Napi::ArrayBuffer::New(env, netproxy::limits::kEventBatch * sizeof(Event)));
    event_memory_ = static_cast<Event*>(events_.Value().Data());
  }

  ~EngineObject() override { stop(); }

 private:
  static void call_js(napi_env env, napi_value callback, void*, void*) {
    if (env == nullptr || callback == nullptr) return;
    napi_value undefined;
    napi_get_undefined(env, &undefined);
    napi_call_function(env, undefined, callback, 0, nullptr, nullptr);
  }

  void stop() {
    if (stopped_ || engine_ == nullptr) return;
    stopped_ = true;
    engine_->stop();
    napi_release_threadsafe_function(notify_, napi_tsfn_abort);
  }

  Napi::Value memory(const Napi::CallbackInfo&) { return memory_.Value(); }
  Napi::Value events(const Napi::CallbackInfo&) { return events_.Value(); }

  Napi::Value poll(const Napi::CallbackInfo& info) {
    const size_t count = stopped_ ? 0 : engine_->poll(event_memory_, netproxy::limits::kEventBatch);
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }
  void accept(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    if (!stopped_) engine_->accept(flow);
  }
  void reject(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    const uint32_t reason = uint32_at(info, 1, "reason");
    if (reason > static_cast<uint32_t>(netproxy::tcp::Reject::kProhibited)) {
      throw Napi::RangeError::New(info.Env(), "reason must be from 0 to 3");
    }
    if (!stopped_) engine_->reject(flow, static_cast<netproxy::tcp::Reject>(reason));
  }
  void abort(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    if (!stopped_) engine_->abort(flow);
  }
  Napi::Value write(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    if (!info[1].IsTypedArray()) throw Napi::TypeError::New(info.Env(), "chunk must be a Uint8Array");
    const auto chunk = info[1].As<Napi::Uint8Array>();
    const size_t queued = stopped_ ? 0 : engine_->write(flow, chunk.Data(), chunk.ByteLength());
    return Napi::Number::New(info.Env(), static_cast<double>(queued));
  }
  void end(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    if (!stopped_) engine_->end(flow);
  }
  // Offset in `memory` times 2^17, plus length: one number instead of an object for every chunk.
  Napi::Value take(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    const uint32_t max = uint32_at(info, 1, "max");
    if (stopped_) return Napi::Number::New(info.Env(), 0);
    constexpr double kLengths = 1 << 17;
    const auto view = engine_->take(flow, max);
    return Napi::Number::New(info.Env(), static_cast<double>(view.offset) * kLengths + static_cast<double>(view.length));
  }
  Napi::Value taken(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    const uint32_t length = uint32_at(info, 1, "length");
    return Napi::Boolean::New(info.Env(), !stopped_ && engine_->taken(flow, length));
  }
  Napi::Value settle(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), !stopped_ && engine_->settle());
  }
  Napi::Value ended(const Napi::CallbackInfo& info) {
    const uint32_t flow = uint32_at(info, 0, "flow");
    return Napi::Boolean::New(info.Env(), !stopped_ && engine_->ended(flow));
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto snapshot = engine_->snapshot();
    const auto& device = engine_->device();
    auto result = Napi::Object::New(env);
    const auto set = [&](const char* name, uint64_t value) {
      result.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("flows", snapshot.flows);
    set("pendingDials", snapshot.pending_dials);
    set("slabsInUse", snapshot.slabs_in_use);
    set("blocksInUse", snapshot.blocks_in_use);
    set("receivedBytes", snapshot.received_bytes);
    set("segmentsIn", snapshot.tcp.segments_in);
    set("segmentsOut", snapshot.tcp.segments_out);
    set("retransmits", snapshot.tcp.retransmits);
    set("outOfOrder", snapshot.tcp.out_of_order);
    set("malformedSegments", snapshot.tcp.malformed);
    set("synsDropped", snapshot.tcp.syns_dropped);
    set("resetsSent", snapshot.tcp.resets_sent);
    set("challengeAcks", snapshot.tcp.challenge_acks);
    set("packetsIn", device.packets_in);
    set("packetsOut", device.packets_out);
    set("writeErrors", device.write_errors);
    set("droppedFragments", device.dropped_fragments);
    set("droppedMalformed", device.dropped_malformed);
    set("droppedOther", device.dropped_other);
    set("refusedDatagrams", device.refused_datagrams);
    return result;
  }

  void close(const Napi::CallbackInfo&) { stop(); }

  std::shared_ptr<Engine> engine_;
  napi_threadsafe_function notify_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> memory_;
  Napi::Reference<Napi::ArrayBuffer> events_;
  Event* event_memory_ = nullptr;
  bool stopped_ = false;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("openTun", Napi::Function::New(env, open_tun, "openTun"));
  exports.Set("connectTcp", Napi::Function::New(env, connect_tcp, "connectTcp"));
  exports.Set("Engine", EngineObject::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(netproxy, init)
