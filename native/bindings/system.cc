#include "bindings/system.h"

#include <sys/socket.h>

#include <cstring>

#include "bindings/check.h"
#include "socket/make.h"
#include "socket/socket.h"
#include "tun/tun.h"

namespace netproxy::bindings {

namespace {

tun::Device open_device(const std::string& name, int helper) {
  if (helper == socket::kOwn) return tun::open(name);
  helper::Request request{};
  request.kind = helper::Kind::kTun;
  if (name.size() >= sizeof request.name)
    throw std::system_error(ENAMETOOLONG, std::generic_category(), "interface name");
  std::memcpy(request.name, name.data(), name.size());
  helper::Answer answer{};
  const int fd = socket::ask(helper, request, answer);
  return {fd, answer.name, answer.segmentation != 0};
}

uint16_t port_at(const Napi::CallbackInfo& info, size_t at, uint32_t least) {
  const uint32_t port = uint32_at(info, at, "port");
  if (port < least || port > 65535)
    throw Napi::RangeError::New(info.Env(), "port must be from " + std::to_string(least) + " to 65535");
  return static_cast<uint16_t>(port);
}

int family_at(const Napi::CallbackInfo& info, size_t index) {
  const uint32_t family = uint32_at(info, index, "family");
  if (family != 4 && family != 6) throw Napi::RangeError::New(info.Env(), "family must be 4 or 6");
  return family == 4 ? AF_INET : AF_INET6;
}

// A number of a descriptor; whether it is one, the kernel tells.
int fd_at(const Napi::CallbackInfo& info, size_t index) {
  const uint32_t fd = uint32_at(info, index, "fd");
  if (fd > INT32_MAX) throw Napi::RangeError::New(info.Env(), "fd must be a descriptor");
  return static_cast<int>(fd);
}

Napi::Value bind_to(const Napi::CallbackInfo& info, int type) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "address must be a string");
  try {
    return Napi::Number::New(
        env, socket::bind_to(info[0].As<Napi::String>(), port_at(info, 1, 0), type, helper_at(info, 2)));
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

}  // namespace

Napi::Value open_tun(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "name must be a string");
  try {
    const auto device = open_device(info[0].As<Napi::String>(), helper_at(info, 1));
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
  const uint16_t port = port_at(info, 1, 1);
  try {
    const int fd = socket::connect_tcp(info[0].As<Napi::String>(), port,
                                       {.mark = uint32_at(info, 2, "mark"),
                                        .user_timeout_ms = uint32_at(info, 3, "userTimeoutMs"),
                                        .helper = helper_at(info, 4)});
    return Napi::Number::New(env, fd);
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value open_udp(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int family = family_at(info, 0);
  try {
    return Napi::Number::New(env, socket::open_udp(family, uint32_at(info, 1, "mark"), helper_at(info, 2)));
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value open_datagram(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string kind = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (kind != "udp" && kind != "ping") throw Napi::TypeError::New(env, "kind must be udp or ping");
  const int family = family_at(info, 1);
  try {
    return Napi::Number::New(
        env, socket::open_datagram(family, kind == "ping", uint32_at(info, 2, "mark"), helper_at(info, 3)));
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value keep_whole(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[1].IsBoolean()) throw Napi::TypeError::New(env, "whole must be a boolean");
  try {
    socket::keep_whole(fd_at(info, 0), info[1].As<Napi::Boolean>());
    return env.Undefined();
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value drain_errors(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), socket::drain_errors(fd_at(info, 0)));
}

Napi::Value bind_tcp(const Napi::CallbackInfo& info) { return bind_to(info, SOCK_STREAM); }

Napi::Value bind_udp(const Napi::CallbackInfo& info) { return bind_to(info, SOCK_DGRAM); }

Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const bool packets = info[0].IsString() && info[0].As<Napi::String>().Utf8Value() == "packets";
  try {
    const auto ends = socket::pair(packets ? SOCK_SEQPACKET : SOCK_STREAM);
    auto result = Napi::Array::New(env, ends.size());
    for (uint32_t at = 0; at < ends.size(); ++at) result.Set(at, ends[at]);
    return result;
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

}  // namespace netproxy::bindings
