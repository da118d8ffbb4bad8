#include "bindings/process.h"

#include "bindings/check.h"
#include "process/filter.h"
#include "process/memory.h"
#include "process/privileges.h"

namespace netproxy::bindings {

namespace {

std::vector<uint32_t> numbers_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsArray()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be an array");
  const auto array = info[at].As<Napi::Array>();
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value value = array[i];
    if (!value.IsNumber())
      throw Napi::TypeError::New(info.Env(), std::string(name) + " must hold numbers only");
    numbers.push_back(value.As<Napi::Number>().Uint32Value());
  }
  return numbers;
}

}  // namespace

// (capabilities) or (capabilities, uid, gid, groups)
Napi::Value reduce_privileges(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto capabilities = numbers_at(info, 0, "capabilities");
  try {
    if (info.Length() > 1) {
      const process::Identity identity{.uid = uint32_at(info, 1, "uid"),
                                       .gid = uint32_at(info, 2, "gid"),
                                       .groups = numbers_at(info, 3, "groups")};
      process::reduce_privileges(capabilities, &identity);
    } else {
      process::reduce_privileges(capabilities, nullptr);
    }
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
  return env.Undefined();
}

Napi::Value release_start_memory(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(process::release_start_memory()));
}

Napi::Value filter_system_calls(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    return Napi::Number::New(env, static_cast<double>(process::filter_system_calls()));
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

}  // namespace netproxy::bindings
