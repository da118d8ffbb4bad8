#include "bindings/watch.h"

#include <unistd.h>
#include <uv.h>

#include <memory>
#include <system_error>

#include "bindings/check.h"
#include "netlink/watch.h"

namespace netproxy::bindings {

namespace {

// Owned by the loop from start to the close of its last handle: a handle may not be freed before.
struct Watch {
  explicit Watch(Napi::Env env) : context(env, "namespace watch") {}

  Napi::AsyncContext context;
  Napi::FunctionReference changed;
  uv_poll_t polls[2];
  int fds[2] = {-1, -1};
  int open = 0;
  bool ended = false;

  static void readable(uv_poll_t* poll, int, int) {
    auto* const self = static_cast<Watch*>(poll->data);
    if (!netlink::drain(self->fds[poll == &self->polls[0] ? 0 : 1]) || self->ended) return;
    const Napi::Env env = self->changed.Env();
    const Napi::HandleScope scope(env);
    try {
      self->changed.MakeCallback(env.Global(), {}, self->context);
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env, error.Value());
    }
  }

  static void closed(uv_handle_t* handle) {
    auto* const self = static_cast<Watch*>(handle->data);
    const int at = handle == reinterpret_cast<uv_handle_t*>(&self->polls[0]) ? 0 : 1;
    ::close(self->fds[at]);
    if (--self->open == 0) delete self;
  }

  void end() {
    if (ended) return;
    ended = true;
    for (int i = 0; i < 2; ++i) {
      if (fds[i] >= 0) uv_close(reinterpret_cast<uv_handle_t*>(&polls[i]), closed);
    }
  }
};

// Joins the object that JavaScript holds to the watch: whichever ends first, `end` runs once.
struct Handle {
  Watch* watch;
  void end() {
    if (watch != nullptr) watch->end();
    watch = nullptr;
  }
};

void end_at_exit(void* data) { static_cast<Handle*>(data)->end(); }

}  // namespace

Napi::Value watch_namespace(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsFunction()) throw Napi::TypeError::New(env, "onChange must be a function");
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
  netlink::Sockets sockets;
  try {
    sockets = netlink::open_watch(helper_at(info, 1));
  } catch (const std::system_error& error) {
    throw system_error(env, error);
  }
  auto* const watch = new Watch(env);
  watch->changed = Napi::Persistent(info[0].As<Napi::Function>());
  const int fds[2] = {sockets.routes, sockets.filter};
  for (int i = 0; i < 2; ++i) {
    if (fds[i] < 0) continue;
    uv_poll_t* const poll = &watch->polls[i];
    // Fails for descriptors that epoll does not take only, which a socket is not.
    if (uv_poll_init(loop, poll, fds[i]) != 0) {
      ::close(fds[i]);
      continue;
    }
    watch->fds[i] = fds[i];
    ++watch->open;
    poll->data = watch;
    uv_poll_start(poll, UV_READABLE, Watch::readable);
    uv_unref(reinterpret_cast<uv_handle_t*>(poll));
  }
  if (watch->open == 0) {
    delete watch;
    throw Napi::Error::New(env, "the event loop takes no more descriptors");
  }
  auto* const handle = new Handle{watch};
  // At the end of a worker or of the process the loop must find no open handle of ours.
  napi_add_env_cleanup_hook(env, end_at_exit, handle);
  return Napi::Function::New(
      env, [handle](const Napi::CallbackInfo&) { handle->end(); }, "endWatch");
}

}  // namespace netproxy::bindings
