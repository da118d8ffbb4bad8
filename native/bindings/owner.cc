#include "bindings/owner.h"

#include <netinet/in.h>

#include "bindings/check.h"
#include "netlink/diag.h"
#include "process/holder.h"

namespace netproxy::bindings {

namespace {

std::string text_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  if (!info[at].IsString()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a string");
  return info[at].As<Napi::String>();
}

uint16_t port_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
  const uint32_t port = uint32_at(info, at, name);
  if (port > 65535) throw Napi::RangeError::New(info.Env(), std::string(name) + " must be from 0 to 65535");
  return static_cast<uint16_t>(port);
}

}  // namespace

Napi::Value socket_owner(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t protocol = uint32_at(info, 0, "protocol");
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
    throw Napi::RangeError::New(env, "protocol must be 6 or 17");
  const netlink::SocketTuple tuple{.protocol = static_cast<uint8_t>(protocol),
                                   .source = text_at(info, 1, "source"),
                                   .source_port = port_at(info, 2, "sourcePort"),
                                   .destination = text_at(info, 3, "destination"),
                                   .destination_port = port_at(info, 4, "destinationPort")};
  try {
    const auto owner = netlink::socket_owner(tuple, text_at(info, 5, "device"), helper_at(info, 6));
    if (!owner) return env.Undefined();
    auto result = Napi::Object::New(env);
    result.Set("uid", owner->uid);
    result.Set("inode", owner->inode);
    result.Set("cgroup", Napi::BigInt::New(env, owner->cgroup));
    return result;
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
}

Napi::Value socket_holder(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t inode = uint32_at(info, 0, "inode");
  if (!info[1].IsArray()) throw Napi::TypeError::New(env, "first must be an array");
  const auto array = info[1].As<Napi::Array>();
  std::vector<uint32_t> first;
  for (uint32_t at = 0; at < array.Length(); ++at) {
    const Napi::Value pid = array[at];
    if (!pid.IsNumber()) throw Napi::TypeError::New(env, "first must hold numbers only");
    first.push_back(pid.As<Napi::Number>().Uint32Value());
  }
  const auto search = process::socket_holder(inode, first, uint32_at(info, 2, "limit"));
  auto result = Napi::Object::New(env);
  result.Set("pid", static_cast<double>(search.found));
  result.Set("forbidden", search.forbidden);
  return result;
}

}  // namespace netproxy::bindings
