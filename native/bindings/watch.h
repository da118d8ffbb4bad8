// A watch over the network namespace as a JavaScript object.
#pragma once

#include <napi.h>

namespace netproxy::bindings {

// watchNamespace(onChange): calls it, in a turn of its own, whenever something has changed. Gives a function
// that ends the watch. A watch does not keep the process alive.
Napi::Value watch_namespace(const Napi::CallbackInfo& info);

}  // namespace netproxy::bindings
