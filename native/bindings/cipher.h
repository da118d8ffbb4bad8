// Packet protection of an SSH connection as JavaScript objects: one for each direction and key.
#pragma once

#include <napi.h>

#include <memory>

#include "ssh/opener.h"
#include "ssh/sealer.h"

namespace netproxy::bindings {

class SealerObject final : public Napi::ObjectWrap<SealerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // The sealer of a JavaScript PacketSealer; throws a TypeError when `value` is something else.
  static const std::shared_ptr<ssh::Sealer>& sealer_of(Napi::Value value);

  explicit SealerObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value sequence(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), sealer_->sequence());
  }
  Napi::Value seal(const Napi::CallbackInfo& info);

  std::shared_ptr<ssh::Sealer> sealer_;
};

class OpenerObject final : public Napi::ObjectWrap<OpenerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // The opener of a JavaScript PacketOpener; throws a TypeError when `value` is something else.
  static const std::shared_ptr<ssh::Opener>& opener_of(Napi::Value value);

  explicit OpenerObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value result(const Napi::CallbackInfo&) { return result_.Value(); }
  Napi::Value sequence(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), opener_->sequence());
  }
  Napi::Value carried(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);

  std::shared_ptr<ssh::Opener> opener_;
  const uint8_t* payload_ = nullptr;
  size_t payload_length_ = 0;
  Napi::Reference<Napi::Uint32Array> result_;
  uint32_t* words_ = nullptr;
};

}  // namespace netproxy::bindings
