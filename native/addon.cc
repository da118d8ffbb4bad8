// The addon's exports: a table of contents. src/core/native.ts is the same surface in types.
#include <napi.h>

#include "bindings/cipher.h"
#include "bindings/engine.h"
#include "bindings/link.h"
#include "bindings/owner.h"
#include "bindings/process.h"
#include "bindings/system.h"
#include "bindings/watch.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace netproxy::bindings;
  exports.Set("openTun", Napi::Function::New(env, open_tun, "openTun"));
  exports.Set("connectTcp", Napi::Function::New(env, connect_tcp, "connectTcp"));
  exports.Set("openUdp", Napi::Function::New(env, open_udp, "openUdp"));
  exports.Set("releaseStartMemory", Napi::Function::New(env, release_start_memory, "releaseStartMemory"));
  exports.Set("openDatagram", Napi::Function::New(env, open_datagram, "openDatagram"));
  exports.Set("keepWhole", Napi::Function::New(env, keep_whole, "keepWhole"));
  exports.Set("drainErrors", Napi::Function::New(env, drain_errors, "drainErrors"));
  exports.Set("bindTcp", Napi::Function::New(env, bind_tcp, "bindTcp"));
  exports.Set("bindUdp", Napi::Function::New(env, bind_udp, "bindUdp"));
  exports.Set("reducePrivileges", Napi::Function::New(env, reduce_privileges, "reducePrivileges"));
  exports.Set("filterSystemCalls", Napi::Function::New(env, filter_system_calls, "filterSystemCalls"));
  exports.Set("socketOwner", Napi::Function::New(env, socket_owner, "socketOwner"));
  exports.Set("socketHolder", Napi::Function::New(env, socket_holder, "socketHolder"));
  exports.Set("watchNamespace", Napi::Function::New(env, watch_namespace, "watchNamespace"));
  exports.Set("socketPair", Napi::Function::New(env, socket_pair, "socketPair"));
  exports.Set("Engine", EngineObject::define(env));
  exports.Set("PacketSealer", SealerObject::define(env));
  exports.Set("PacketOpener", OpenerObject::define(env));
  exports.Set("SshLink", LinkObject::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(netproxy, init)
