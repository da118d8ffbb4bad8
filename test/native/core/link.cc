// A link between the engine's flows and an SSH server, which a thread plays over a socket pair: echo on every
// channel, windows on both sides, new keys all the time, messages between the data. For the sanitizers.
#include "ssh/link.h"

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "applications.h"
#include "packet/bytes.h"

using namespace netproxy;
using namespace netproxy::test;
using packet::get32;
using packet::put32;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kBase = 0x1000'0000;
constexpr uint32_t kWindow = 2 * 1024 * 1024;
constexpr uint32_t kLargestData = 32 * 1024;
constexpr uint32_t kAdjustAfter = 96 * 1024;

enum Message : uint8_t {
  kKexInit = 20,
  kNewKeys = 21,
  kOpen = 90,
  kConfirm = 91,
  kAdjust = 93,
  kData = 94,
  kEof = 96,
  kClose = 97
};

// Keys of one direction and epoch; both sides derive the same.
template <typename T>
std::shared_ptr<T> keys(uint8_t direction, uint32_t epoch) {
  uint8_t key[64] = {direction};
  uint8_t iv[12] = {direction, 1};
  put32(key + 4, epoch);
  put32(iv + 4, epoch);
  // AES-GCM and chacha20-poly1305 by turns.
  const bool chacha = epoch % 2 == 1;
  return std::make_shared<T>(ssh::Keys{.key = key,
                                       .key_length = chacha ? sizeof key : 16,
                                       .iv = iv,
                                       .iv_length = chacha ? 0 : sizeof iv,
                                       .sequence = epoch});
}

Bytes message(uint8_t type, std::initializer_list<uint32_t> words) {
  Bytes bytes(1 + 4 * words.size());
  bytes[0] = type;
  size_t at = 1;
  for (const uint32_t word : words) {
    put32(bytes.data() + at, word);
    at += 4;
  }
  return bytes;
}

// The other side: one thread, blocking writes.
class Server {
 public:
  explicit Server(int fd) : fd_(fd), thread_([this] { run(); }) {}
  void stop() {
    thread_.join();
    close(fd_);
  }

 private:
  struct Channel {
    uint32_t peer = 0;
    uint64_t window = kWindow;  // what the client takes
    uint32_t consumed = 0;
    std::deque<Bytes> waiting;
    bool eof = false;
    bool eof_sent = false;
    bool close_sent = false;
  };

  void send(const Bytes& payload) {
    Bytes packet(ssh::Sealer::packet_bytes(payload.size()));
    packet.resize(sealer_->seal_payload(payload.data(), payload.size(), packet.data()));
    for (size_t at = 0; at < packet.size();) {
      const ssize_t sent = ::send(fd_, packet.data() + at, packet.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return;
      at += static_cast<size_t>(sent);
    }
  }

  void run() {
    std::vector<uint8_t> buffer(100'000);
    for (;;) {
      const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
      if (size <= 0) return;
      for (size_t at = 0; at < static_cast<size_t>(size);) {
        const auto result = opener_->open(buffer.data(), at, static_cast<size_t>(size));
        at = result.next;
        if (result.status == ssh::Opener::Status::kMore) break;
        require(result.status == ssh::Opener::Status::kPayload, "the server cannot open a packet");
        handle(Bytes(result.payload, result.payload + result.payload_length));
      }
    }
  }

  void handle(const Bytes& payload) {
    const uint8_t type = payload[0];
    if (type == kKexInit) {
      require(!exchanging_, "a key exchange in a key exchange");
      exchanging_ = true;
      send({kKexInit});
      send({kNewKeys});
      sealer_ = keys<ssh::Sealer>(2, ++epoch_);
      return;
    }
    if (type == kNewKeys) {
      require(exchanging_, "new keys out of turn");
      exchanging_ = false;
      opener_ = keys<ssh::Opener>(1, epoch_);
      return;
    }
    require(!exchanging_, "a message of channels while keys are exchanged");
    const uint32_t number = get32(payload.data() + 1);
    if (type == kOpen) {
      channels_[next_] = Channel{};
      channels_[next_].peer = number;
      send(message(kConfirm, {number, next_, kWindow, kLargestData}));
      ++next_;
      return;
    }
    const auto found = channels_.find(number);
    require(found != channels_.end(), "a message for a channel that is closed");
    Channel& channel = found->second;
    switch (type) {
      case kAdjust:
        channel.window += get32(payload.data() + 5);
        break;
      case kData:
        require(payload.size() - 9 == get32(payload.data() + 5), "a length");
        require(payload.size() - 9 <= kLargestData, "a packet larger than the server takes");
        require(!channel.eof, "data after its end");
        channel.waiting.emplace_back(payload.begin() + 9, payload.end());
        break;
      case kEof:
        channel.eof = true;
        break;
      case kClose:
        if (!channel.close_sent) send(message(kClose, {channel.peer}));
        channels_.erase(found);
        return;
      default:
        require(false, "an unknown message");
    }
    echo(channel);
  }

  void echo(Channel& channel) {
    while (!channel.waiting.empty()) {
      const Bytes& data = channel.waiting.front();
      if (channel.window < data.size()) return;
      channel.window -= data.size();
      Bytes payload = message(kData, {channel.peer, static_cast<uint32_t>(data.size())});
      payload.insert(payload.end(), data.begin(), data.end());
      send(payload);
      channel.consumed += static_cast<uint32_t>(data.size());
      channel.waiting.pop_front();
      if (channel.consumed > kAdjustAfter) {
        send(message(kAdjust, {channel.peer, channel.consumed}));
        channel.consumed = 0;
      }
    }
    if (!channel.eof || channel.eof_sent) return;
    channel.eof_sent = channel.close_sent = true;
    send(message(kEof, {channel.peer}));
    send(message(kClose, {channel.peer}));
  }

  const int fd_;
  uint32_t epoch_ = 0;
  bool exchanging_ = false;
  std::shared_ptr<ssh::Sealer> sealer_ = keys<ssh::Sealer>(2, 0);
  std::shared_ptr<ssh::Opener> opener_ = keys<ssh::Opener>(1, 0);
  std::map<uint32_t, Channel> channels_;
  uint32_t next_ = 0;
  std::thread thread_;
};

// The thread that plays JavaScript.
class Client {
 public:
  Client(int tun, int fd)
      : engine_(std::make_shared<engine::Engine>(
            tun, tcp::Config{.secret = {3, 4}, .mtu = 1500, .ack_delay = limits::kAckDelayUs},
            [this] { wake(); })),
        link_(std::make_shared<ssh::Link>(engine_, fd, kBase, keys<ssh::Sealer>(1, 0),
                                          keys<ssh::Opener>(2, 0), [this] { wake(); })) {
    link_->start();
    thread_ = std::thread([this] { run(); });
  }

  void stop() {
    stopping_ = true;
    wake();
    thread_.join();
    link_->close();
    engine_->stop();
    require(exchanges_ > 5, "too few key exchanges to show anything");
  }
  engine::Engine& engine() { return *engine_; }

 private:
  struct Channel {
    tcp::FlowId flow;
    uint32_t remote = 0;
    bool confirmed = false;
    bool over = false;  // the application is gone
    bool close_sent = false;
  };

  void wake() {
    const std::lock_guard lock(mutex_);
    due_ = true;
    changed_.notify_one();
  }

  void run() {
    auto exchange_at = std::chrono::steady_clock::now();
    while (!stopping_) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(20), [this] { return due_; });
        due_ = false;
      }
      events();
      for (;;) {
        const auto messages = link_->messages();
        for (size_t at = 0; at < messages.size();) {
          uint32_t size;
          std::memcpy(&size, messages.data() + at, sizeof size);
          handle(messages.data() + at + sizeof size, size);
          at += sizeof size + size;
        }
        ssh::Link::Item items[16];
        const size_t count = link_->poll(items, 16);
        for (size_t i = 0; i < count; ++i) news(items[i]);
        if (messages.empty() && count == 0) break;
      }
      if (!exchanging_ && std::chrono::steady_clock::now() >= exchange_at) {
        exchange_at = std::chrono::steady_clock::now() + std::chrono::milliseconds(60);
        exchanging_ = true;
        put({kKexInit});
      }
      link_->flush();
      while (engine_->settle()) events();
      link_->queued();
      link_->received();
    }
  }

  // ssh2 keeps back what is not of the exchange; so does this.
  void submit(const Bytes& payload) {
    if (exchanging_) {
      kept_.push_back(payload);
    } else {
      put(payload);
    }
  }

  void put(const Bytes& payload) {
    size_t padding = 16 - (1 + payload.size()) % 16;
    if (padding < 4) padding += 16;
    Bytes packet(4 + 1 + payload.size() + padding + 16);
    put32(packet.data(), static_cast<uint32_t>(1 + payload.size() + padding));
    packet[4] = static_cast<uint8_t>(padding);
    std::copy(payload.begin(), payload.end(), packet.begin() + 5);
    require(link_->submit(packet.data(), packet.size()), "submit");
  }

  void events() {
    std::vector<engine::Event> events(64);
    size_t count;
    do {
      count = engine_->poll(events.data(), events.size());
      for (size_t i = 0; i < count; ++i) handle(events[i]);
    } while (count == events.size());
  }

  void handle(const engine::Event& event) {
    if (event.type == engine::EventType::kOpened) {
      if (event.destination_port == 1) {
        engine_->reject(event.flow, tcp::Reject::kRefused);
        return;
      }
      uint32_t number = 0;
      while (channels_.contains(number)) ++number;
      channels_[number] = {.flow = event.flow};
      numbers_[event.flow] = number;
      // Every other flow is accepted before the confirmation is handled.
      if (++opens_ % 2 == 0) link_->expect(number, event.flow);
      submit(message(kOpen, {kBase + number, kWindow, kLargestData}));
    } else if (event.type == engine::EventType::kClosed) {
      const auto found = numbers_.find(event.flow);
      if (found == numbers_.end()) return;
      Channel& channel = channels_[found->second];
      channel.over = true;
      if (!channel.confirmed) link_->unexpect(found->second);
      if (event.value != static_cast<uint32_t>(tcp::End::kFinished)) close_channel(found->second);
      numbers_.erase(found);
    }
  }

  void close_channel(uint32_t number) {
    Channel& channel = channels_[number];
    if (!channel.confirmed || channel.close_sent) return;
    link_->detach(number);
    channel.close_sent = true;
    submit(message(kClose, {channel.remote}));
  }

  void handle(const uint8_t* payload, size_t length) {
    switch (payload[0]) {
      case kKexInit:
        return;
      case kNewKeys: {
        put({kNewKeys});
        ++epoch_;
        link_->seal_with(keys<ssh::Sealer>(1, epoch_));
        link_->open_with(keys<ssh::Opener>(2, epoch_));
        exchanging_ = false;
        ++exchanges_;
        for (const Bytes& kept : kept_) put(kept);
        kept_.clear();
        return;
      }
      default:
        break;
    }
    const uint32_t number = get32(payload + 1) - kBase;
    require(channels_.contains(number), "a message for no channel");
    Channel& channel = channels_[number];
    switch (payload[0]) {
      case kConfirm:
        channel.confirmed = true;
        channel.remote = get32(payload + 5);
        if (channel.over) {
          close_channel(number);
        } else {
          link_->attach(number, channel.flow, channel.remote, get32(payload + 9), get32(payload + 13));
        }
        break;
      case kData:
        if (!channel.close_sent) {
          link_->took(number, get32(payload + 5), engine_->write(channel.flow, payload + 9, length - 9));
        }
        break;
      case kAdjust:
        link_->adjust(number, get32(payload + 5));
        break;
      case kEof:
        engine_->end(channel.flow);
        break;
      case kClose:
        link_->detach(number);
        if (!channel.close_sent) submit(message(kClose, {channel.remote}));
        numbers_.erase(channel.flow);
        channels_.erase(number);
        break;
      default:
        require(false, "an unknown message from the server");
    }
  }

  void news(const ssh::Link::Item& item) {
    require(item.news == ssh::Link::News::kEnded, "news of a failure");
    require(channels_.contains(item.channel), "news of no channel");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool due_ = false;
  std::atomic<bool> stopping_ = false;
  // The thread's own.
  std::map<uint32_t, Channel> channels_;
  std::map<tcp::FlowId, uint32_t> numbers_;
  std::deque<Bytes> kept_;
  uint32_t epoch_ = 0;
  bool exchanging_ = false;
  int exchanges_ = 0;
  int opens_ = 0;

  std::shared_ptr<engine::Engine> engine_;
  std::shared_ptr<ssh::Link> link_;
  std::thread thread_;
};

// The last message of a server and its end, which epoll tells of by one edge.
void hear_message_and_end() {
  int pair[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  const Bytes last = message(kClose, {kBase});
  Bytes packet(ssh::Sealer::packet_bytes(last.size()));
  packet.resize(keys<ssh::Sealer>(2, 0)->seal_payload(last.data(), last.size(), packet.data()));
  require(send(pair[1], packet.data(), packet.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size()),
          "sending the last message");
  close(pair[1]);

  const auto nothing = [] {};
  const tcp::Config config{.secret = {3, 4}, .mtu = 1500, .ack_delay = limits::kAckDelayUs};
  const auto engine = std::make_shared<engine::Engine>(open_tun(), config, nothing);
  const auto link = std::make_shared<ssh::Link>(engine, pair[0], kBase, keys<ssh::Sealer>(1, 0),
                                                keys<ssh::Opener>(2, 0), nothing);
  link->start();
  size_t heard = 0;
  bool lost = false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!lost && std::chrono::steady_clock::now() < deadline) {
    heard += link->messages().size();
    ssh::Link::Item item;
    if (link->poll(&item, 1) == 1) lost = item.news == ssh::Link::News::kLost;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  heard += link->messages().size();
  link->close();
  engine->stop();
  require(lost, "the end was not heard");
  require(heard == sizeof(uint32_t) + last.size(), "the last message was not heard");
}

}  // namespace

int main() {
  int pair[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  Server server(pair[1]);
  Client client(open_tun(), pair[0]);
  run_applications(client.engine());
  client.stop();
  server.stop();
  hear_message_and_end();
  return 0;
}
