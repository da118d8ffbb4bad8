// Argument checks and error conversions of the bindings.
#pragma once

#include <napi.h>

#include <cstring>
#include <string>
#include <system_error>

#include "socket/make.h"

namespace netproxy::bindings {

// For thread-safe functions that carry no data: calls their function without arguments.
inline void call_js(napi_env env, napi_value callback, void*, void*) {
  if (env == nullptr || callback == nullptr) return;
  napi_value undefined;
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, callback, 0, nullptr, nullptr);
}

// An Error with `code`, `errno` and `syscall` as Node's own system errors have.
inline Napi::Error system_error(Napi::Env env, const std::system_error& error) {
  auto result = Napi::Error::New(env, error.what());
  const char* const name = strerrorname_np(error.code().value());
  result.Set("code", Napi::String::New(env, name == nullptr ? "UNKNOWN" : name));
  result.Set("errno", Napi::Number::New(env, error.code().value()));
  return result;
}

inline uint32_t uint32_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsNumber()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a number");
  return info[at].As<Napi::Number>().Uint32Value();
}

// The channel to a helper, an argument that may be left out: then it is the own namespace.
inline int helper_at(const Napi::CallbackInfo& info, size_t at) {
  if (info[at].IsUndefined()) return socket::kOwn;
  if (!info[at].IsNumber()) throw Napi::TypeError::New(info.Env(), "helper must be a descriptor");
  return info[at].As<Napi::Number>().Int32Value();
}

inline Napi::Uint8Array bytes_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsTypedArray() || info[at].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a Uint8Array");
  }
  return info[at].As<Napi::Uint8Array>();
}

// Throws a TypeError when `value` was not made by the class that carries `tag`.
inline void check_tag(Napi::Value value, const napi_type_tag& tag, const char* message) {
  bool ours = false;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &tag, &ours) != napi_ok || !ours) {
    throw Napi::TypeError::New(value.Env(), message);
  }
}

}  // namespace netproxy::bindings
