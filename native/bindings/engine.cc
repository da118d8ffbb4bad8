#include "bindings/engine.h"

#include <sys/random.h>

#include <system_error>

#include "bindings/check.h"

namespace netproxy::bindings {

namespace {

using engine::Engine;
using engine::Event;
using engine::Slabs;

constexpr uint16_t kSmallestMtu = 1280;  // RFC 8200, section 5

constexpr napi_type_tag kEngineTag = {0x6e65'7470'726f'7879, 0x656e'6769'6e65'0001};

packet::Datagram datagram_at(const Napi::CallbackInfo& info, size_t at) {
  packet::Datagram datagram;
  if (!info[at].IsTypedArray() || info[at].As<Napi::Uint8Array>().ByteLength() < engine::kDatagramHeader ||
      !engine::read_datagram_header(info[at].As<Napi::Uint8Array>().Data(), datagram)) {
    throw Napi::TypeError::New(info.Env(), "header must be a datagram's header");
  }
  return datagram;
}

}  // namespace

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceAccessor<&EngineObject::memory>("memory"),
                         InstanceAccessor<&EngineObject::events>("events"),
                         InstanceMethod<&EngineObject::poll>("poll"),
                         InstanceMethod<&EngineObject::accept>("accept"),
                         InstanceMethod<&EngineObject::reject>("reject"),
                         InstanceMethod<&EngineObject::drop>("drop"),
                         InstanceMethod<&EngineObject::abort>("abort"),
                         InstanceMethod<&EngineObject::write>("write"),
                         InstanceMethod<&EngineObject::end>("end"),
                         InstanceMethod<&EngineObject::take>("take"),
                         InstanceMethod<&EngineObject::taken>("taken"),
                         InstanceMethod<&EngineObject::ended>("ended"),
                         InstanceMethod<&EngineObject::settle>("settle"),
                         InstanceAccessor<&EngineObject::datagram_memory>("datagramMemory"),
                         InstanceMethod<&EngineObject::datagrams>("datagrams"),
                         InstanceMethod<&EngineObject::answer>("answer"),
                         InstanceMethod<&EngineObject::refuse>("refuse"),
                         InstanceMethod<&EngineObject::counters>("counters"),
                         InstanceMethod<&EngineObject::close>("close"),
                     });
}

const std::shared_ptr<Engine>& EngineObject::engine_of(Napi::Value value) {
  check_tag(value, kEngineTag, "engine must be an Engine");
  return Unwrap(value.As<Napi::Object>())->engine_;
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  const Napi::Env env = info.Env();
  const uint32_t fd = uint32_at(info, 0, "fd");
  const uint32_t mtu = uint32_at(info, 1, "mtu");
  if (mtu < kSmallestMtu || mtu > 65535) throw Napi::RangeError::New(env, "mtu must be from 1280 to 65535");
  if (!info[2].IsFunction()) throw Napi::TypeError::New(env, "onEvents must be a function");

  tcp::Config config{.secret = {}, .mtu = static_cast<uint16_t>(mtu), .ack_delay = limits::kAckDelayUs};
  if (getrandom(&config.secret, sizeof config.secret, 0) != sizeof config.secret) {
    throw Napi::Error::New(env, "getrandom gave no bytes");
  }
  // Unbounded, but at most one call is ever queued: the engine notifies again only after a poll.
  napi_value name = Napi::String::New(env, "netproxy engine events");
  const napi_status status = napi_create_threadsafe_function(env, info[2], nullptr, name, 0, 1, nullptr,
                                                             nullptr, nullptr, &call_js, &notify_);
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
  events_ = Napi::Persistent(Napi::ArrayBuffer::New(env, limits::kEventBatch * sizeof(Event)));
  datagrams_ = Napi::Persistent(Napi::ArrayBuffer::New(env, limits::kDatagramBatchBytes));
  datagram_memory_ = static_cast<uint8_t*>(datagrams_.Value().Data());
  event_memory_ = static_cast<Event*>(events_.Value().Data());
  napi_type_tag_object(env, info.This(), &kEngineTag);
}

void EngineObject::stop() {
  if (stopped_ || engine_ == nullptr) return;
  stopped_ = true;
  engine_->stop();
  napi_release_threadsafe_function(notify_, napi_tsfn_abort);
}

Napi::Value EngineObject::poll(const Napi::CallbackInfo& info) {
  const size_t count = stopped_ ? 0 : engine_->poll(event_memory_, limits::kEventBatch);
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

void EngineObject::accept(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  if (!stopped_) engine_->accept(flow);
}

void EngineObject::reject(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  const uint32_t reason = uint32_at(info, 1, "reason");
  if (reason > static_cast<uint32_t>(tcp::Reject::kProhibited)) {
    throw Napi::RangeError::New(info.Env(), "reason must be from 0 to 3");
  }
  if (!stopped_) engine_->reject(flow, static_cast<tcp::Reject>(reason));
}

void EngineObject::drop(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  if (!stopped_) engine_->drop(flow);
}

void EngineObject::abort(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  if (!stopped_) engine_->abort(flow);
}

Napi::Value EngineObject::write(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  if (!info[1].IsTypedArray()) throw Napi::TypeError::New(info.Env(), "chunk must be a Uint8Array");
  const auto chunk = info[1].As<Napi::Uint8Array>();
  const size_t queued = stopped_ ? 0 : engine_->write(flow, chunk.Data(), chunk.ByteLength());
  return Napi::Number::New(info.Env(), static_cast<double>(queued));
}

void EngineObject::end(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  if (!stopped_) engine_->end(flow);
}

Napi::Value EngineObject::take(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  const uint32_t max = uint32_at(info, 1, "max");
  if (stopped_) return Napi::Number::New(info.Env(), 0);
  constexpr double kLengths = 1 << 17;
  const auto view = engine_->take(flow, max);
  return Napi::Number::New(info.Env(),
                           static_cast<double>(view.offset) * kLengths + static_cast<double>(view.length));
}

Napi::Value EngineObject::taken(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  const uint32_t length = uint32_at(info, 1, "length");
  return Napi::Boolean::New(info.Env(), !stopped_ && engine_->taken(flow, length));
}

Napi::Value EngineObject::ended(const Napi::CallbackInfo& info) {
  const uint32_t flow = uint32_at(info, 0, "flow");
  return Napi::Boolean::New(info.Env(), !stopped_ && engine_->ended(flow));
}

Napi::Value EngineObject::settle(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), !stopped_ && engine_->settle());
}

Napi::Value EngineObject::datagrams(const Napi::CallbackInfo& info) {
  const size_t count = stopped_ ? 0 : engine_->datagrams(datagram_memory_, limits::kDatagramBatchBytes);
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

void EngineObject::answer(const Napi::CallbackInfo& info) {
  const packet::Datagram request = datagram_at(info, 0);
  if (!info[1].IsTypedArray() || info[1].As<Napi::Uint8Array>().ByteLength() > packet::kDatagramPayload) {
    throw Napi::TypeError::New(info.Env(), "payload must be a Uint8Array that fits in a packet");
  }
  const auto payload = info[1].As<Napi::Uint8Array>();
  if (!stopped_) engine_->answer(request, payload.Data(), payload.ByteLength());
}

void EngineObject::refuse(const Napi::CallbackInfo& info) {
  const packet::Datagram request = datagram_at(info, 0);
  const uint32_t why = info[1].IsUndefined() ? 0 : uint32_at(info, 1, "reason");
  if (why > static_cast<uint32_t>(packet::Refusal::kTooBig)) {
    throw Napi::RangeError::New(info.Env(), "reason must be from 0 to 4");
  }
  const uint32_t mtu = info[2].IsUndefined() ? 0 : uint32_at(info, 2, "mtu");
  if (!stopped_) engine_->refuse(request, static_cast<packet::Refusal>(why), mtu);
}

Napi::Value EngineObject::counters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto snapshot = engine_->snapshot();
  const auto& device = engine_->device();
  auto result = Napi::Object::New(env);
  const auto set = [&](const char* name, uint64_t value) {
    result.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("flows", snapshot.flows);
  set("pendingDials", snapshot.pending_dials);
  set("engineTimers", snapshot.timers);
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
  set("synsDroppedTarget", snapshot.tcp.syns_dropped_target);
  set("overBudget", snapshot.tcp.over_budget);
  set("controlDropped", snapshot.tcp.control_dropped);
  set("keepalives", snapshot.tcp.keepalives);
  set("challengeAcks", snapshot.tcp.challenge_acks);
  set("packetsIn", device.packets_in);
  set("packetsOut", device.packets_out);
  set("writeErrors", device.write_errors);
  set("fragments", device.fragments);
  set("reassembled", device.reassembled);
  set("reassemblyVoided", device.reassembly_voided);
  set("reassemblyExpired", device.reassembly_expired);
  set("droppedMalformed", device.dropped_malformed);
  set("droppedOther", device.dropped_other);
  set("refusedDatagrams", device.refused_datagrams);
  set("droppedDatagrams", device.dropped_datagrams);
  return result;
}

}  // namespace netproxy::bindings
