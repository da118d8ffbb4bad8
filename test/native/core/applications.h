// Applications in a network namespace of their own (`unshare -n`) that talk through a real TUN: bytes up and
// down at once, half-closes, aborts and refused connects. For the programs that put something behind it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tun/tun.h"

namespace netproxy::test {

inline constexpr int kApplications = 6;
inline constexpr int kRounds = 40;
inline constexpr size_t kLargest = 600'000;

inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::_Exit(1);
}

inline sockaddr_in target(int number, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(0xc6336400u + static_cast<uint32_t>(number) + 1);  // 198.51.100.x
  return address;
}

// One application: bytes up and down at once, then a half-close, or an abort in the middle.
inline void converse(int number, int round) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const bool refused = round % 10 == 3;
  const sockaddr_in address = target(number, refused ? 1 : 7);
  const int connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  require((connected == 0) != refused, "a connect ended otherwise than it should");
  if (refused) {
    close(fd);
    return;
  }
  const size_t length = round % 4 == 0 ? 10 : kLargest / static_cast<size_t>(1 + round % 5);
  std::string up(length, 0);
  for (size_t i = 0; i < length; ++i) up[i] = static_cast<char>(i * 7 + static_cast<size_t>(number + round));
  const bool aborts = round % 7 == 5;
  std::thread writer([&] {
    for (size_t sent = 0; sent < length;) {
      const ssize_t n = send(fd, up.data() + sent, std::min<size_t>(length - sent, 50'000), MSG_NOSIGNAL);
      if (n < 0) return;
      sent += static_cast<size_t>(n);
    }
    shutdown(fd, SHUT_WR);
  });
  std::string down;
  char part[30'000];
  ssize_t n;
  while ((n = recv(fd, part, sizeof part, 0)) > 0) {
    down.append(part, static_cast<size_t>(n));
    if (aborts && down.size() > 5) break;
  }
  if (aborts) {
    shutdown(fd, SHUT_RDWR);
    writer.join();
    const linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  } else {
    writer.join();
    require(down == up, "the echo differs");
  }
  close(fd);
}

// A TUN to which 198.51.100.0/24 leads.
inline int open_tun() {
  const tun::Device device = tun::open("npengine");
  require(
      std::system("ip link set lo up && ip link set npengine up && "
                  "ip addr add 10.99.0.1/32 dev npengine && ip route add 198.51.100.0/24 dev npengine") == 0,
      "setting up the namespace");
  return device.fd;
}

// All conversations, and that nothing is left of them.
inline void run_applications(engine::Engine& engine) {
  std::vector<std::thread> applications;
  for (int i = 0; i < kApplications; ++i) {
    applications.emplace_back([i] {
      for (int round = 0; round < kRounds; ++round) converse(i, round);
    });
  }
  for (auto& application : applications) application.join();
  // What we closed first lingers for a second; the rest is over by then.
  bool clean = false;
  for (int i = 0; i < 100 && !clean; ++i) {
    usleep(100'000);
    const auto left = engine.snapshot();
    clean = left.flows == 0 && left.received_bytes == 0 && left.blocks_in_use == 0 && left.slabs_in_use <= 1;
  }
  const auto left = engine.snapshot();
  if (!clean) {
    std::fprintf(stderr, "left over: flows %zu bytes %zu blocks %zu slabs %zu\n", left.flows,
                 left.received_bytes, left.blocks_in_use, left.slabs_in_use);
    std::_Exit(1);
  }
  std::printf("%d conversations good, %llu segments in\n", kApplications * kRounds,
              static_cast<unsigned long long>(left.tcp.segments_in));
}

}  // namespace netproxy::test
