#include "bindings/system.h"

#include <sys/socket.h>

#include "bindings/check.h"
#include "socket/socket.h"
#include "tun/tun.h"

namespace netproxy::bindings {

Napi::Value open_tun(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "name must be a string");
  try {
    const auto device = tun::open(info[0].As<Napi::String>());
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
    const int fd = socket::connect_tcp(
        info[0].As<Napi::String>(), static_cast<uint16_t>(port),
        {.mark = uint32_at(info, 2, "mark"), .user_timeout_ms = uint32_at(info, 3, "userTimeoutMs")});
    return Napi::Number::New(env, fd);
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value open_udp(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t family = uint32_at(info, 0, "family");
  if (family != 4 && family != 6) throw Napi::RangeError::New(env, "family must be 4 or 6");
  try {
    const int fd = socket::open_udp(family == 4 ? AF_INET : AF_INET6, uint32_at(info, 1, "mark"));
    return Napi::Number::New(env, fd);
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    const auto ends = socket::pair();
    auto result = Napi::Array::New(env, ends.size());
    for (uint32_t at = 0; at < ends.size(); ++at) result.Set(at, ends[at]);
    return result;
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

}  // namespace netproxy::bindings
