// The helper's part that runs commands in its namespaces: `ip` and `nft` for netproxy, and the one that the
// user gave.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "helper/protocol.h"

namespace netproxy::helper {

class Commands {
 public:
  // `channel` is non-blocking. `mask` is what commands get for their blocked signals.
  Commands(int channel, const sigset_t& mask) : channel_(channel), mask_(mask) {}
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // Queues the first frame.
  void hello(int error, const std::string& step, bool covered);
  // Adds what is to be waited for.
  void wait_for(std::vector<pollfd>& polls) const;
  // Deals with what has come. False when netproxy is gone.
  bool serve(const std::vector<pollfd>& polls);
  // Some child has ended.
  void reap();

 private:
  struct Child {
    uint32_t id;
    FrameKind kind;
    pid_t pid;
    int in = -1;
    int out = -1;
    int err = -1;
    std::string input{};
    size_t written = 0;
    std::string output{};
    std::string errors{};
    int status = 0;
    bool ended = false;
  };

  bool read_channel();
  void handle(const Frame& frame, const std::string& payload);
  void run(uint32_t id, const std::string& payload);
  void spawn(uint32_t id, const std::string& payload);
  void read_proc(uint32_t id, const std::string& payload);
  void send_signal(const std::string& payload) const;
  pid_t start(const std::vector<char*>& argv, const int (&stdio)[3], char* const* environment);
  void feed(Child& child);
  void finish();
  void send(FrameKind kind, uint32_t id, const std::string& payload);
  void answer(const Child& child);
  bool flush();

  int channel_;
  sigset_t mask_;
  std::string received_;
  std::string queued_;
  std::vector<Child> children_;
};

}  // namespace netproxy::helper
