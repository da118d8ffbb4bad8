// The other side of every measurement: servers, load generator and delay relay in one small program,
// so that what is measured is the tunnel and not the tool. Results are one line of JSON.
//
//   load serve ADDRESS PORT                  sink on PORT, source on PORT+1, echo on PORT+2
//   load relay ADDRESS PORT TO PORT MS       TCP relay that holds each direction back by MS
//   load up|down ADDRESS PORT FLOWS WARMUP_S SECONDS
//   load echo ADDRESS PORT SIZE COUNT SECONDS  ends at COUNT round trips or after SECONDS
//   load rate ADDRESS PORT AT_ONCE SECONDS   connect, 1-byte echo, close, again
//   load first ADDRESS PORT MS               tries for MS to connect and echo a byte
//   load refused ADDRESS PORT COUNT          connects to a port where nothing listens
//   load idle ADDRESS PORT FLOWS             opens FLOWS, echoes a byte on each, waits for end of input
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Nanos = std::chrono::nanoseconds;

constexpr size_t kChunk = 256 * 1024;
// What a relay may hold in each direction: more than 100 ms at the speed of any tunnel measured here.
constexpr size_t kRelayBytes = 256 * 1024 * 1024;

[[noreturn]] void Die(const char* what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family = 0;
};

Address Resolve(const char* host, const char* port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host, port, &hints, &found) != 0) {
    fprintf(stderr, "load: %s port %s is not an address\n", host, port);
    exit(64);
  }
  Address address;
  memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.length = found->ai_addrlen;
  address.family = found->ai_family;
  freeaddrinfo(found);
  return address;
}

int Connect(const Address& to) {
  int fd = socket(to.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.length) != 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

int ConnectOrDie(const Address& to) {
  int fd = Connect(to);
  if (fd < 0) Die("connect");
  return fd;
}

int Listen(const Address& on) {
  int fd = socket(on.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&on.storage), on.length) != 0) Die("bind");
  if (listen(fd, 4096) != 0) Die("listen");
  return fd;
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool ReadAll(int fd, char* data, size_t size) {
  while (size > 0) {
    ssize_t n = read(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

template <typename F>
void Accept(int listener, F serve) {
  for (;;) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      Die("accept");
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::thread([fd, serve] {
      serve(fd);
      close(fd);
    }).detach();
  }
}

void Serve(char** argv) {
  int port = atoi(argv[1]);
  auto listener = [&](int offset) { return Listen(Resolve(argv[0], std::to_string(port + offset).c_str())); };
  int sink = listener(0), source = listener(1), echo = listener(2);
  std::thread([sink] {
    Accept(sink, [](int fd) {
      std::vector<char> buffer(kChunk);
      while (read(fd, buffer.data(), buffer.size()) > 0) {
      }
    });
  }).detach();
  std::thread([source] {
    Accept(source, [](int fd) {
      std::vector<char> buffer(kChunk, 'x');
      while (WriteAll(fd, buffer.data(), buffer.size())) {
      }
    });
  }).detach();
  puts("ready");
  fflush(stdout);
  Accept(echo, [](int fd) {
    char buffer[16 * 1024];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0 && WriteAll(fd, buffer, static_cast<size_t>(n))) {
    }
  });
}

// One direction of a relay: what is read at a time leaves at that time plus the delay.
void Hold(int from, int to, Nanos delay) {
  struct Chunk {
    Clock::time_point due;
    std::vector<char> bytes;  // none: end of stream
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Chunk> queue;
  size_t held = 0;
  bool broken = false;
  std::thread writer([&] {
    for (;;) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return !queue.empty(); });
      Chunk chunk = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      std::this_thread::sleep_until(chunk.due);
      if (chunk.bytes.empty()) {
        shutdown(to, SHUT_WR);
        return;
      }
      bool good = WriteAll(to, chunk.bytes.data(), chunk.bytes.size());
      lock.lock();
      held -= chunk.bytes.size();
      broken = broken || !good;
      changed.notify_all();
      if (!good) return;
    }
  });
  std::vector<char> buffer(kChunk);
  for (;;) {
    ssize_t n = read(from, buffer.data(), buffer.size());
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return held < kRelayBytes || broken; });
    if (broken) break;
    size_t size = n > 0 ? static_cast<size_t>(n) : 0;
    queue.push_back({Clock::now() + delay, {buffer.begin(), buffer.begin() + static_cast<long>(size)}});
    held += size;
    changed.notify_all();
    if (n <= 0) break;
  }
  writer.join();
  if (broken) shutdown(from, SHUT_RDWR);
}

void Relay(char** argv) {
  int listener = Listen(Resolve(argv[0], argv[1]));
  Address to = Resolve(argv[2], argv[3]);
  Nanos delay(static_cast<int64_t>(atof(argv[4]) * 1e6));
  puts("ready");
  fflush(stdout);
  Accept(listener, [to, delay](int near) {
    int far = Connect(to);
    if (far < 0) return;
    std::thread back([=] { Hold(far, near, delay); });
    Hold(near, far, delay);
    back.join();
    close(far);
  });
}

void Bulk(bool up, char** argv) {
  Address to = Resolve(argv[0], argv[1]);
  int flows = atoi(argv[2]);
  double warmup = atof(argv[3]), seconds = atof(argv[4]);
  std::vector<std::atomic<uint64_t>> bytes(static_cast<size_t>(flows));
  std::vector<int> fds;
  std::vector<std::thread> threads;
  for (int i = 0; i < flows; i++) fds.push_back(ConnectOrDie(to));
  for (size_t i = 0; i < fds.size(); i++) {
    threads.emplace_back([&, i] {
      std::vector<char> buffer(kChunk, 'x');
      for (;;) {
        ssize_t n = up ? send(fds[i], buffer.data(), buffer.size(), MSG_NOSIGNAL)
                       : read(fds[i], buffer.data(), buffer.size());
        if (n <= 0) return;
        bytes[i].fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(warmup));
  std::vector<uint64_t> before;
  for (auto& count : bytes) before.push_back(count.load());
  // The parent reads the tunnel's CPU time at these two lines.
  puts("begin");
  fflush(stdout);
  auto start = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  double took = Seconds(Clock::now() - start);
  std::string list;
  for (size_t i = 0; i < bytes.size(); i++) {
    list += (i == 0 ? "" : ",") + std::to_string(bytes[i].load() - before[i]);
  }
  printf("{\"seconds\":%.6f,\"bytes\":[%s]}\n", took, list.c_str());
  fflush(stdout);
  for (int fd : fds) shutdown(fd, SHUT_RDWR);
  for (auto& thread : threads) thread.join();
}

std::string Percentiles(std::vector<double>& micros) {
  std::sort(micros.begin(), micros.end());
  auto at = [&](double q) {
    return micros.empty() ? 0.0 : micros[static_cast<size_t>(q * static_cast<double>(micros.size() - 1))];
  };
  char text[160];
  snprintf(text, sizeof text, "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f", at(0.5), at(0.99), at(1));
  return text;
}

void Echo(char** argv) {
  int fd = ConnectOrDie(Resolve(argv[0], argv[1]));
  size_t size = static_cast<size_t>(atoi(argv[2]));
  int count = atoi(argv[3]);
  auto end = Clock::now() + std::chrono::duration<double>(atof(argv[4]));
  std::vector<char> out(size, 'x'), in(size);
  std::vector<double> micros;
  // The first ones warm up both ends.
  for (int i = -count / 100; i < count && Clock::now() < end; i++) {
    auto start = Clock::now();
    if (!WriteAll(fd, out.data(), size) || !ReadAll(fd, in.data(), size)) Die("echo");
    if (i >= 0) micros.push_back(Seconds(Clock::now() - start) * 1e6);
  }
  if (micros.empty()) {
    fprintf(stderr, "load: not one echo came back in time\n");
    exit(1);
  }
  std::string text = Percentiles(micros);
  printf("{\"count\":%zu,%s}\n", micros.size(), text.c_str());
}

bool EchoOnce(int fd) {
  char byte = 'x';
  return WriteAll(fd, &byte, 1) && ReadAll(fd, &byte, 1);
}

void Rate(char** argv) {
  Address to = Resolve(argv[0], argv[1]);
  int at_once = atoi(argv[2]);
  double seconds = atof(argv[3]);
  std::atomic<uint64_t> failed{0};
  std::mutex mutex;
  std::vector<double> micros;
  auto start = Clock::now();
  auto end = start + std::chrono::duration<double>(seconds);
  std::vector<std::thread> threads;
  for (int i = 0; i < at_once; i++) {
    threads.emplace_back([&] {
      std::vector<double> mine;
      while (Clock::now() < end) {
        auto before = Clock::now();
        int fd = Connect(to);
        if (fd >= 0 && EchoOnce(fd)) {
          mine.push_back(Seconds(Clock::now() - before) * 1e6);
        } else {
          failed++;
        }
        if (fd >= 0) close(fd);
      }
      std::scoped_lock lock(mutex);
      micros.insert(micros.end(), mine.begin(), mine.end());
    });
  }
  for (auto& thread : threads) thread.join();
  double took = Seconds(Clock::now() - start);
  size_t done = micros.size();
  std::string text = Percentiles(micros);
  printf("{\"seconds\":%.6f,\"done\":%zu,\"failed\":%llu,%s}\n", took, done,
         static_cast<unsigned long long>(failed.load()), text.c_str());
}

void First(char** argv) {
  Address to = Resolve(argv[0], argv[1]);
  auto start = Clock::now();
  auto end = start + std::chrono::milliseconds(atoi(argv[2]));
  while (Clock::now() < end) {
    int fd = Connect(to);
    if (fd >= 0 && EchoOnce(fd)) {
      printf("{\"seconds\":%.6f}\n", Seconds(Clock::now() - start));
      return;
    }
    if (fd >= 0) close(fd);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  fprintf(stderr, "load: nothing came through in time\n");
  exit(1);
}

void Refused(char** argv) {
  Address to = Resolve(argv[0], argv[1]);
  int count = atoi(argv[2]), refused = 0;
  for (int i = 0; i < count; i++) {
    int fd = Connect(to);
    if (fd < 0 && errno == ECONNREFUSED) refused++;
    if (fd >= 0) close(fd);
  }
  printf("{\"refused\":%d}\n", refused);
}

void Idle(char** argv) {
  Address to = Resolve(argv[0], argv[1]);
  int flows = atoi(argv[2]);
  std::vector<int> fds;
  for (int i = 0; i < flows; i++) {
    fds.push_back(ConnectOrDie(to));
    if (!EchoOnce(fds.back())) Die("echo");
  }
  printf("{\"open\":%zu}\n", fds.size());
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct Mode {
    const char* name;
    int arguments;
    void (*run)(char**);
  };
  const Mode modes[] = {
      {"serve", 2, Serve},
      {"relay", 5, Relay},
      {"echo", 5, Echo},
      {"rate", 4, Rate},
      {"first", 3, First},
      {"idle", 3, Idle},
      {"refused", 3, Refused},
      {"up", 5, [](char** a) { Bulk(true, a); }},
      {"down", 5, [](char** a) { Bulk(false, a); }},
  };
  for (const Mode& mode : modes) {
    if (argc >= 2 && strcmp(argv[1], mode.name) == 0 && argc == mode.arguments + 2) {
      mode.run(argv + 2);
      return 0;
    }
  }
  fprintf(stderr, "load: unknown mode or wrong number of arguments; see the head of load.cc\n");
  return 64;
}
