#include "bindings/cipher.h"

#include <cstring>
#include <stdexcept>

#include "bindings/check.h"
#include "bindings/engine.h"

namespace netproxy::bindings {

namespace {

constexpr napi_type_tag kRoutesTag = {0x6e65'7470'726f'7879, 0x726f'7574'6573'0001};

// Words of the result arrays before the reports; src/core/native.ts names them.
constexpr size_t kOpenWords = 6;
constexpr size_t kReportWords = 3;
constexpr size_t kSealWords = 4;

Napi::Uint8Array bytes_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsTypedArray() || info[at].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a Uint8Array");
  }
  return info[at].As<Napi::Uint8Array>();
}

// Key and initial vector of the constructors.
template <typename T>
std::unique_ptr<T> with_key(const Napi::CallbackInfo& info) {
  const auto key = bytes_at(info, 0, "key");
  const auto iv = bytes_at(info, 1, "iv");
  if (iv.ByteLength() != ssh::kIv) throw Napi::RangeError::New(info.Env(), "iv must be 12 bytes");
  try {
    return std::make_unique<T>(key.Data(), key.ByteLength(), iv.Data());
  } catch (const std::runtime_error& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

}  // namespace

Napi::Function RoutesObject::define(Napi::Env env) {
  return DefineClass(
      env, "ChannelRoutes",
      {InstanceMethod<&RoutesObject::set>("set"), InstanceMethod<&RoutesObject::remove>("remove")});
}

RoutesObject::RoutesObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RoutesObject>(info) {
  napi_type_tag_object(info.Env(), info.This(), &kRoutesTag);
}

const ssh::Routes* RoutesObject::routes_of(Napi::Value value) {
  if (value.IsUndefined() || value.IsNull()) return nullptr;
  bool ours = false;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &kRoutesTag, &ours) != napi_ok ||
      !ours) {
    throw Napi::TypeError::New(value.Env(), "routes must be ChannelRoutes");
  }
  return &Unwrap(value.As<Napi::Object>())->routes_;
}

void RoutesObject::set(const Napi::CallbackInfo& info) {
  constexpr uint32_t kChannels = 1 << 20;  // far above what one connection may have open
  const uint32_t channel = uint32_at(info, 0, "channel");
  if (channel >= kChannels) throw Napi::RangeError::New(info.Env(), "channel must be below 1048576");
  routes_.set(channel, {EngineObject::engine_of(info[1]), uint32_at(info, 2, "flow")});
}

void RoutesObject::remove(const Napi::CallbackInfo& info) { routes_.remove(uint32_at(info, 0, "channel")); }

Napi::Function SealerObject::define(Napi::Env env) {
  return DefineClass(env, "GcmSealer",
                     {
                         InstanceAccessor<&SealerObject::result>("result"),
                         InstanceMethod<&SealerObject::seal>("seal"),
                         InstanceMethod<&SealerObject::seal_flow>("sealFlow"),
                     });
}

SealerObject::SealerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SealerObject>(info), sealer_(with_key<ssh::Sealer>(info)) {
  auto result = Napi::Uint32Array::New(info.Env(), kSealWords);
  words_ = result.Data();
  result_ = Napi::Persistent(result);
}

Napi::Value SealerObject::seal(const Napi::CallbackInfo& info) {
  auto packet = bytes_at(info, 0, "packet");
  return Napi::Boolean::New(info.Env(), sealer_->seal(packet.Data(), packet.ByteLength()));
}

// sealFlow(engine, flow, channel, max, largest, out, offset): bytes written to `out` at `offset`.
Napi::Value SealerObject::seal_flow(const Napi::CallbackInfo& info) {
  const auto& engine = EngineObject::engine_of(info[0]);
  const uint32_t flow = uint32_at(info, 1, "flow");
  const uint32_t channel = uint32_at(info, 2, "channel");
  const uint32_t max = uint32_at(info, 3, "max");
  const uint32_t largest = uint32_at(info, 4, "largest");
  auto out = bytes_at(info, 5, "out");
  const uint32_t offset = uint32_at(info, 6, "offset");
  if (offset > out.ByteLength()) throw Napi::RangeError::New(info.Env(), "offset must lie in out");
  const auto result = sealer_->seal_flow(*engine, flow, channel, max, largest, out.Data() + offset,
                                         out.ByteLength() - offset);
  words_[0] = static_cast<uint32_t>(result.moved);
  words_[1] = static_cast<uint32_t>(result.packets);
  words_[2] = result.ended ? 1 : 0;
  words_[3] = result.failed ? 1 : 0;
  return Napi::Number::New(info.Env(), static_cast<double>(result.written));
}

Napi::Function OpenerObject::define(Napi::Env env) {
  return DefineClass(env, "GcmOpener",
                     {
                         InstanceAccessor<&OpenerObject::result>("result"),
                         InstanceMethod<&OpenerObject::carried>("carried"),
                         InstanceMethod<&OpenerObject::open>("open"),
                     });
}

OpenerObject::OpenerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<OpenerObject>(info),
      opener_(with_key<ssh::Opener>(info)),
      base_(uint32_at(info, 2, "base")) {
  auto result = Napi::Uint32Array::New(info.Env(), kOpenWords + ssh::Opener::kReports * kReportWords);
  words_ = result.Data();
  result_ = Napi::Persistent(result);
}

// The payload of the last open() that lay outside of `data`, copied.
Napi::Value OpenerObject::carried(const Napi::CallbackInfo& info) {
  return Napi::Buffer<uint8_t>::Copy(info.Env(), payload_, payload_length_);
}

// open(data, at, end, routes): how far `data` is used up.
Napi::Value OpenerObject::open(const Napi::CallbackInfo& info) {
  auto data = bytes_at(info, 0, "data");
  const uint32_t at = uint32_at(info, 1, "at");
  const uint32_t end = uint32_at(info, 2, "end");
  if (end > data.ByteLength() || at > end)
    throw Napi::RangeError::New(info.Env(), "at and end must lie in data");
  ssh::Opener::Report reports[ssh::Opener::kReports];
  const auto result = opener_->open(data.Data(), at, end, RoutesObject::routes_of(info[3]), base_, reports);
  payload_ = result.payload;
  payload_length_ = result.payload_length;
  const bool inside = payload_ >= data.Data() && payload_ < data.Data() + data.ByteLength();
  words_[0] = static_cast<uint32_t>(result.status);
  words_[1] = inside ? 0 : 1;
  words_[2] = inside ? static_cast<uint32_t>(payload_ - data.Data()) : 0;
  words_[3] = static_cast<uint32_t>(result.payload_length);
  words_[4] = result.packets;
  words_[5] = static_cast<uint32_t>(result.reports);
  std::memcpy(words_ + kOpenWords, reports, result.reports * sizeof(ssh::Opener::Report));
  return Napi::Number::New(info.Env(), static_cast<double>(result.next));
}

}  // namespace netproxy::bindings
