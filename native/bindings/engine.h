// The engine as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "engine/engine.h"

namespace netproxy::bindings {

class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);

  // The engine of a JavaScript Engine; throws a TypeError when `value` is something else.
  static const std::shared_ptr<engine::Engine>& engine_of(Napi::Value value);

  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override { stop(); }

 private:
  void stop();

  Napi::Value memory(const Napi::CallbackInfo&) { return memory_.Value(); }
  Napi::Value events(const Napi::CallbackInfo&) { return events_.Value(); }
  Napi::Value poll(const Napi::CallbackInfo& info);
  void accept(const Napi::CallbackInfo& info);
  void reject(const Napi::CallbackInfo& info);
  void drop(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);
  Napi::Value taken(const Napi::CallbackInfo& info);
  Napi::Value ended(const Napi::CallbackInfo& info);
  Napi::Value settle(const Napi::CallbackInfo& info);
  Napi::Value datagram_memory(const Napi::CallbackInfo&) { return datagrams_.Value(); }
  Napi::Value datagrams(const Napi::CallbackInfo& info);
  void answer(const Napi::CallbackInfo& info);
  void refuse(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { stop(); }

  std::shared_ptr<engine::Engine> engine_;
  napi_threadsafe_function notify_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> memory_;
  Napi::Reference<Napi::ArrayBuffer> events_;
  Napi::Reference<Napi::ArrayBuffer> datagrams_;
  uint8_t* datagram_memory_ = nullptr;
  engine::Event* event_memory_ = nullptr;
  bool stopped_ = false;
};

}  // namespace netproxy::bindings
