// What netproxy asks of the system beside the engine: a TUN device, marked sockets.
#pragma once

#include <napi.h>

namespace netproxy::bindings {

Napi::Value open_tun(const Napi::CallbackInfo& info);
Napi::Value connect_tcp(const Napi::CallbackInfo& info);
Napi::Value open_udp(const Napi::CallbackInfo& info);
Napi::Value open_datagram(const Napi::CallbackInfo& info);
Napi::Value keep_whole(const Napi::CallbackInfo& info);
Napi::Value drain_errors(const Napi::CallbackInfo& info);
Napi::Value bind_tcp(const Napi::CallbackInfo& info);
Napi::Value bind_udp(const Napi::CallbackInfo& info);
Napi::Value socket_pair(const Napi::CallbackInfo& info);

}  // namespace netproxy::bindings
