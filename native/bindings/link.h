// An SSH connection after its handshake as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "ssh/link.h"

namespace netproxy::bindings {

class LinkObject final : public Napi::ObjectWrap<LinkObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit LinkObject(const Napi::CallbackInfo& info);
  ~LinkObject() override { stop(); }

 private:
  void stop();

  Napi::Value news(const Napi::CallbackInfo&) { return news_.Value(); }
  Napi::Value totals_array(const Napi::CallbackInfo&) { return totals_.Value(); }
  Napi::Value poll(const Napi::CallbackInfo& info);
  Napi::Value messages(const Napi::CallbackInfo& info);
  Napi::Value submit(const Napi::CallbackInfo& info);
  void seal_with(const Napi::CallbackInfo& info);
  void open_with(const Napi::CallbackInfo& info);
  void flush(const Napi::CallbackInfo&) { link_->flush(); }
  void expect(const Napi::CallbackInfo& info);
  Napi::Value unexpect(const Napi::CallbackInfo& info);
  void keep_to_windows(const Napi::CallbackInfo& info);
  void round_trip(const Napi::CallbackInfo& info);
  void attach(const Napi::CallbackInfo& info);
  void read_totals(const Napi::CallbackInfo& info);
  void detach(const Napi::CallbackInfo& info);
  Napi::Value took(const Napi::CallbackInfo& info);
  Napi::Value adjust(const Napi::CallbackInfo& info);
  void used(const Napi::CallbackInfo& info);
  Napi::Value shared(const Napi::CallbackInfo& info);
  Napi::Value queued(const Napi::CallbackInfo& info);
  Napi::Value sent(const Napi::CallbackInfo& info);
  Napi::Value received(const Napi::CallbackInfo& info);
  void want_drained(const Napi::CallbackInfo&) { link_->want_drained(); }
  void close(const Napi::CallbackInfo&) { stop(); }

  std::shared_ptr<ssh::Link> link_;
  napi_threadsafe_function notify_ = nullptr;
  Napi::Reference<Napi::Uint32Array> news_;
  Napi::Reference<Napi::Float64Array> totals_;
  ssh::Link::Item* items_ = nullptr;
  double* total_ = nullptr;
  bool stopped_ = false;
};

}  // namespace netproxy::bindings
