// netns-helper: lives in another network namespace for netproxy, which stays where it is. It makes the TUN
// and the sockets that belong there and hands them over, and runs `ip`, `nft` and the user's command there.
// It has a single thread, since only such a process may enter a user namespace (setns(2)), and ends with
// netproxy.
//
//   netns-helper enter NETWORK_NAMESPACE [USER_NAMESPACE]   by their paths, as of /proc/PID/ns
//   netns-helper new [RESOLV_CONF]                          in namespaces of its own; the text of a
//   resolv.conf
//
// Descriptors 3 and 4 are the channels of protocol.h.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "helper/commands.h"
#include "helper/descriptors.h"
#include "helper/namespaces.h"
#include "helper/protocol.h"

using namespace netproxy::helper;

namespace {

struct Arrival {
  int error = 0;
  std::string step;
  bool covered = false;
};

Arrival arrive(int argc, char** argv) {
  Arrival arrival;
  try {
    if (argc >= 3 && std::strcmp(argv[1], "enter") == 0) {
      enter(argv[2], argc > 3 ? argv[3] : "");
    } else if (argc >= 2 && std::strcmp(argv[1], "new") == 0) {
      leave_for_new();
      if (argc > 2) {
        const int error = cover_resolv_conf(argv[2]);
        arrival.covered = error == 0;
        if (error != 0) arrival.step = std::strerror(error);
      }
    } else {
      throw std::system_error(EINVAL, std::generic_category(), "arguments");
    }
  } catch (const std::system_error& error) {
    arrival.error = error.code().value();
    arrival.step = error.what();
  }
  return arrival;
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t children;
  sigset_t mask;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, &mask);
  // A key on the terminal means the command. We end when netproxy does.
  for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE}) signal(number, SIG_IGN);
  for (const int fd : {kDescriptors, kCommands}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
      std::fprintf(stderr, "netns-helper: is started by netproxy only\n");
      return 64;
    }
  }
  const Arrival arrival = arrive(argc, argv);
  const int ends = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  Commands commands(kCommands, mask);
  commands.hello(arrival.error, arrival.step, arrival.covered);
  std::vector<pollfd> polls;
  for (;;) {
    polls.clear();
    polls.push_back({.fd = kDescriptors, .events = POLLIN, .revents = 0});
    polls.push_back({.fd = ends, .events = POLLIN, .revents = 0});
    commands.wait_for(polls);
    if (poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) return 1;
    if (polls[1].revents != 0) {
      signalfd_siginfo told;
      while (read(ends, &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
      }
      commands.reap();
    }
    if (polls[0].revents != 0 && !serve_descriptor(kDescriptors)) return 0;
    if (!commands.serve(polls)) return 0;
  }
}
