// What the process may do, reduced.
#pragma once

#include <napi.h>

namespace netproxy::bindings {

Napi::Value release_start_memory(const Napi::CallbackInfo& info);
Napi::Value reduce_privileges(const Napi::CallbackInfo& info);
Napi::Value filter_system_calls(const Napi::CallbackInfo& info);

}  // namespace netproxy::bindings
