// Whose a socket is.
#pragma once

#include <napi.h>

namespace netproxy::bindings {

Napi::Value socket_owner(const Napi::CallbackInfo& info);
Napi::Value socket_holder(const Napi::CallbackInfo& info);

}  // namespace netproxy::bindings
