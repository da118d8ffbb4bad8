// Argument checks and error conversions of the bindings.
#pragma once

#include <napi.h>

#include <cstring>
#include <string>
#include <system_error>

namespace netproxy::bindings {

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

}  // namespace netproxy::bindings
