// UDP echo server and load generator for datagrams.ts. One thread each, many datagrams a system call, so that
// the tool costs little beside what is measured.
//
//   datagrams serve ADDRESS PORT
//   datagrams send ADDRESS PORT RATE SIZE SECONDS   prints one line of JSON
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBatch = 32;
constexpr size_t kLargest = 2048;
constexpr int kBuffer = 4 << 20;
// Datagrams that come later than this after the last was sent count as lost.
constexpr auto kLinger = std::chrono::milliseconds(500);

[[noreturn]] void Die(const char* what) {
  fprintf(stderr, "datagrams: %s: %s\n", what, strerror(errno));
  exit(1);
}

addrinfo* Resolve(const char* host, const char* port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host, port, &hints, &found) != 0) Die("address");
  return found;
}

int Socket(const addrinfo* at) {
  const int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof kBuffer);
  return fd;
}

struct Batch {
  mmsghdr headers[kBatch]{};
  iovec pieces[kBatch]{};
  sockaddr_storage peers[kBatch]{};
  std::vector<char> memory = std::vector<char>(kBatch * kLargest);

  void Reset(size_t size, bool peer) {
    for (size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {memory.data() + i * kLargest, size};
      headers[i] = {};
      headers[i].msg_hdr.msg_iov = &pieces[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      if (!peer) continue;
      headers[i].msg_hdr.msg_name = &peers[i];
      headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
  }
};

void Serve(char** a) {
  const addrinfo* const at = Resolve(a[0], a[1]);
  const int fd = Socket(at);
  if (bind(fd, at->ai_addr, at->ai_addrlen) < 0) Die("bind");
  printf("ready\n");
  fflush(stdout);
  Batch batch;
  while (true) {
    batch.Reset(kLargest, true);
    const int count = recvmmsg(fd, batch.headers, kBatch, MSG_WAITFORONE, nullptr);
    if (count < 0) Die("recvmmsg");
    for (int i = 0; i < count; ++i) batch.pieces[i].iov_len = batch.headers[i].msg_len;
    sendmmsg(fd, batch.headers, static_cast<unsigned>(count), 0);
  }
}

void Send(char** a) {
  const addrinfo* const at = Resolve(a[0], a[1]);
  const double rate = atof(a[2]);
  const size_t size = std::min<size_t>(static_cast<size_t>(atoi(a[3])), kLargest);
  const double seconds = atof(a[4]);
  const int fd = Socket(at);
  if (connect(fd, at->ai_addr, at->ai_addrlen) < 0) Die("connect");
  Batch out, in;
  size_t sent = 0;
  std::vector<double> took;
  const auto start = Clock::now();
  const auto since = [start] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const double end = seconds + std::chrono::duration<double>(kLinger).count();
  for (double now = 0; now < end; now = since()) {
    const size_t due = now < seconds ? static_cast<size_t>(now * rate) : sent;
    while (sent < due) {
      out.Reset(size, false);
      const size_t count = std::min(kBatch, due - sent);
      for (size_t i = 0; i < count; ++i) memcpy(out.pieces[i].iov_base, &now, sizeof now);
      const int done = sendmmsg(fd, out.headers, static_cast<unsigned>(count), 0);
      // What an ICMP error was told for counts as lost.
      sent += done < 0 ? 1 : static_cast<size_t>(done);
    }
    while (true) {
      in.Reset(kLargest, false);
      const int count = recvmmsg(fd, in.headers, kBatch, MSG_DONTWAIT, nullptr);
      if (count <= 0) break;
      const double then = since();
      for (int i = 0; i < count; ++i) {
        double at_sent;
        memcpy(&at_sent, in.pieces[i].iov_base, sizeof at_sent);
        took.push_back(then - at_sent);
      }
    }
    pollfd waits{fd, POLLIN, 0};
    poll(&waits, 1, 1);
  }
  std::sort(took.begin(), took.end());
  const auto percentile = [&took](double part) {
    return took.empty() ? 0 : took[static_cast<size_t>(part * static_cast<double>(took.size() - 1))] * 1000;
  };
  printf("{\"sent\":%zu,\"received\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", sent, took.size(),
         percentile(0.5), percentile(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "serve") == 0) Serve(argv + 2);
  if (argc == 7 && strcmp(argv[1], "send") == 0) {
    Send(argv + 2);
    return 0;
  }
  fprintf(stderr, "datagrams: unknown mode or wrong number of arguments; see the head of datagrams.cc\n");
  return 64;
}
