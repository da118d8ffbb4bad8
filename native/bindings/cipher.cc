#include "bindings/cipher.h"

#include <stdexcept>

#include "bindings/check.h"

namespace netproxy::bindings {

namespace {

constexpr napi_type_tag kOpenerTag = {0x6e65'7470'726f'7879, 0x6f70'656e'6572'0001};
constexpr napi_type_tag kSealerTag = {0x6e65'7470'726f'7879, 0x7365'616c'6572'0001};

// Words of the opener's result; src/core/native.ts names them.
constexpr size_t kOpenWords = 4;

// Key, initial vector and number of the first packet, as the constructors take them.
template <typename T>
std::shared_ptr<T> with_key(const Napi::CallbackInfo& info) {
  const auto key = bytes_at(info, 0, "key");
  const auto iv = bytes_at(info, 1, "iv");
  const uint32_t sequence = uint32_at(info, 2, "sequence");
  try {
    return std::make_shared<T>(ssh::Keys{.key = key.Data(),
                                         .key_length = key.ByteLength(),
                                         .iv = iv.Data(),
                                         .iv_length = iv.ByteLength(),
                                         .sequence = sequence});
  } catch (const std::runtime_error& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

}  // namespace

Napi::Function SealerObject::define(Napi::Env env) {
  return DefineClass(env, "PacketSealer",
                     {
                         InstanceAccessor<&SealerObject::sequence>("sequence"),
                         InstanceMethod<&SealerObject::seal>("seal"),
                     });
}

SealerObject::SealerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SealerObject>(info), sealer_(with_key<ssh::Sealer>(info)) {
  napi_type_tag_object(info.Env(), info.This(), &kSealerTag);
}

const std::shared_ptr<ssh::Sealer>& SealerObject::sealer_of(Napi::Value value) {
  check_tag(value, kSealerTag, "sealer must be a PacketSealer");
  return Unwrap(value.As<Napi::Object>())->sealer_;
}

Napi::Value SealerObject::seal(const Napi::CallbackInfo& info) {
  auto packet = bytes_at(info, 0, "packet");
  return Napi::Boolean::New(info.Env(), sealer_->seal(packet.Data(), packet.ByteLength()));
}

Napi::Function OpenerObject::define(Napi::Env env) {
  return DefineClass(env, "PacketOpener",
                     {
                         InstanceAccessor<&OpenerObject::result>("result"),
                         InstanceAccessor<&OpenerObject::sequence>("sequence"),
                         InstanceMethod<&OpenerObject::carried>("carried"),
                         InstanceMethod<&OpenerObject::open>("open"),
                     });
}

OpenerObject::OpenerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<OpenerObject>(info), opener_(with_key<ssh::Opener>(info)) {
  auto result = Napi::Uint32Array::New(info.Env(), kOpenWords);
  words_ = result.Data();
  result_ = Napi::Persistent(result);
  napi_type_tag_object(info.Env(), info.This(), &kOpenerTag);
}

const std::shared_ptr<ssh::Opener>& OpenerObject::opener_of(Napi::Value value) {
  check_tag(value, kOpenerTag, "opener must be a PacketOpener");
  return Unwrap(value.As<Napi::Object>())->opener_;
}

// The payload of the last open() that lay outside of `data`, copied.
Napi::Value OpenerObject::carried(const Napi::CallbackInfo& info) {
  return Napi::Buffer<uint8_t>::Copy(info.Env(), payload_, payload_length_);
}

// open(data, at, end): how far `data` is used up.
Napi::Value OpenerObject::open(const Napi::CallbackInfo& info) {
  auto data = bytes_at(info, 0, "data");
  const uint32_t at = uint32_at(info, 1, "at");
  const uint32_t end = uint32_at(info, 2, "end");
  if (end > data.ByteLength() || at > end)
    throw Napi::RangeError::New(info.Env(), "at and end must lie in data");
  const auto result = opener_->open(data.Data(), at, end);
  payload_ = result.payload;
  payload_length_ = result.payload_length;
  const bool inside = payload_ >= data.Data() && payload_ < data.Data() + data.ByteLength();
  words_[0] = static_cast<uint32_t>(result.status);
  words_[1] = inside ? 0 : 1;
  words_[2] = inside ? static_cast<uint32_t>(payload_ - data.Data()) : 0;
  words_[3] = static_cast<uint32_t>(result.payload_length);
  return Napi::Number::New(info.Env(), static_cast<double>(result.next));
}

}  // namespace netproxy::bindings
