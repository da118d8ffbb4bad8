// Packet protection of an SSH connection as JavaScript objects: one for each direction and key, and
// the table that says which flow a channel's data belongs to.
#pragma once

#include <napi.h>

#include <memory>

#include "ssh/opener.h"
#include "ssh/sealer.h"

namespace netproxy::bindings {

class RoutesObject final : public Napi::ObjectWrap<RoutesObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // Null for null and undefined; throws a TypeError when `value` is something else.
  static const ssh::Routes* routes_of(Napi::Value value);

  explicit RoutesObject(const Napi::CallbackInfo& info);

 private:
  void set(const Napi::CallbackInfo& info);
  void remove(const Napi::CallbackInfo& info);

  ssh::Routes routes_;
};

class SealerObject final : public Napi::ObjectWrap<SealerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SealerObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value result(const Napi::CallbackInfo&) { return result_.Value(); }
  Napi::Value seal(const Napi::CallbackInfo& info);
  Napi::Value seal_flow(const Napi::CallbackInfo& info);

  std::unique_ptr<ssh::Sealer> sealer_;
  Napi::Reference<Napi::Uint32Array> result_;
  uint32_t* words_ = nullptr;
};

class OpenerObject final : public Napi::ObjectWrap<OpenerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit OpenerObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value result(const Napi::CallbackInfo&) { return result_.Value(); }
  Napi::Value carried(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);

  std::unique_ptr<ssh::Opener> opener_;
  uint32_t base_ = 0;
  const uint8_t* payload_ = nullptr;
  size_t payload_length_ = 0;
  Napi::Reference<Napi::Uint32Array> result_;
  uint32_t* words_ = nullptr;
};

}  // namespace netproxy::bindings
