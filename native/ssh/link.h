// Hops 6 and 7 of 8 (docs/data-path.md): an SSH connection after its handshake. It owns the socket, and
// moves the bytes of flows between them and it without JavaScript: out on whichever thread has the news
// (the engine's when an application wrote, the socket takes bytes again or the server invited more;
// JavaScript's when it opened a channel), in on the engine's. All other messages pass through: those of
// the server wait in the inbox for JavaScript, those of JavaScript are protected and sent in order with
// the flows' data, since all share one packet counter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.h"
#include "engine/outlet.h"
#include "ssh/credit.h"
#include "ssh/opener.h"
#include "ssh/sealer.h"
#include "ssh/window.h"

namespace netproxy::ssh {

class Link final : public engine::Outlet, public std::enable_shared_from_this<Link> {
 public:
  // Takes ownership of `fd`, which must not block. `base`: the first channel number of ours on the wire.
  // `notify` is called from any thread when news or messages wait and JavaScript had seen all before; it
  // must not block.
  Link(std::shared_ptr<engine::Engine> engine, int fd, uint32_t base, std::shared_ptr<Sealer> sealer,
       std::shared_ptr<Opener> opener, std::function<void()> notify);
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start();
  // Ends both directions and closes the descriptor.
  void close();

  // Protects a packet that is laid out already and queues it behind all before. A KEXINIT stops all of
  // flows and windows until new keys are in use (RFC 4253, 7.1). False when it cannot be protected.
  bool submit(uint8_t* packet, size_t length);
  // Sends what submit() has queued.
  void flush();
  // New keys for what follows, one direction each. Nothing is opened between a NEWKEYS and its keys.
  void seal_with(std::shared_ptr<Sealer> sealer);
  void open_with(std::shared_ptr<Opener> opener);

  // To be told of before the open is submitted. As soon as the server confirms the channel, the flow is
  // accepted, and attached as by attach(): the application need not wait until JavaScript has dealt with the
  // message, which it gets all the same.
  void expect(uint32_t channel, tcp::FlowId flow);
  // No longer so. True when that has happened and attach() has not yet followed; it is undone.
  bool unexpect(uint32_t channel);
  // The server is not known to invite in steps shorter than the limit on bytes under way: only its windows
  // limit what is sent.
  void keep_to_windows();
  // A round trip to the server took so long; told every few seconds. The shortest bounds the windows of
  // channels.
  void round_trip(Time us);
  // Accepts the flow. From now on the bytes of it and of the channel, which the server knows as `remote`, are
  // one conversation. `window`: what the server takes; `largest`: bytes of data in one packet.
  void attach(uint32_t channel, tcp::FlowId flow, uint32_t remote, uint32_t window, uint32_t largest);
  struct Totals {
    uint64_t sent = 0;
    uint64_t received = 0;
    bool ended = false;  // an EOF was sent as well
  };
  Totals totals(uint32_t channel);
  void detach(uint32_t channel);
  // The same as the messages that JavaScript got for an attached channel: bytes that it gave to the flow,
  // in which `queued` now wait; and that the server invites more. False when it is not attached.
  bool took(uint32_t channel, uint32_t bytes, size_t queued);
  bool adjust(uint32_t channel, uint32_t bytes);
  // JavaScript sent or received something for a channel of its own: it uses the connection.
  void used(uint32_t channel);
  bool shared();

  // Bytes protected that the socket has not taken, those that it took, and bytes received.
  size_t queued();
  uint64_t sent();
  uint64_t received();

  enum class News : uint32_t { kEnded = 1, kDrained = 2, kLost = 3, kDamaged = 4, kOverrun = 5 };
  struct Item {
    News news;
    uint32_t channel;
  };
  // Copies at most `max` items. kEnded, once for a channel: the application has closed its half, and all was
  // sent with an EOF behind it; kOverrun: the server sent more than it was invited to. kDrained, once after
  // want_drained(). kLost: the socket is at its end; kDamaged: what came is not what the server's key
  // protected.
  size_t poll(Item* out, size_t max);
  // Takes all messages, each after its length in four bytes of host order. Those taken before count as dealt
  // with from this call on.
  std::vector<uint8_t> messages();
  // Asks to be told when the queue was sent.
  void want_drained();

  void polled(uint32_t events) override;
  void drained(uint32_t channel) override;
  bool serve(const std::vector<uint32_t>& channels) override;

 private:
  struct Channel {
    uint32_t number;
    tcp::FlowId flow;
    uint32_t remote;
    uint32_t largest;
    Credit credit;
    ReceiveWindow window{};
    Totals totals{};
    uint32_t invitation = 0;  // not yet sent, since keys are being exchanged
    uint64_t message = 0;     // JavaScript must have dealt with this one before data may pass it by
    bool queued = false;      // stands in fresh_ or waiting_
    bool starved = false;     // waits for credit
    bool ended = false;       // the application has closed its half, and the server was told
    bool far_ended = false;   // the server has closed its half, and the application was told
    bool lagging = false;     // its flow has more queued than is good
    bool early = false;       // expected and confirmed; JavaScript has yet to attach it
  };
  struct Expected {
    uint32_t channel;
    tcp::FlowId flow;
    Time since;
  };

  Channel* find(uint32_t channel);
  Channel& add(uint32_t channel, tcp::FlowId flow, uint32_t remote, uint32_t window, uint32_t largest);
  void remove(const Channel& channel);
  void forget(uint32_t channel);
  void shorten(Time us);
  // Wakes JavaScript for news that wait, at once or within limits::kNewsDelayUs.
  void notify(bool at_once);
  void tell(News news, uint32_t channel, bool at_once = true);
  void fail(News news);
  // Ends a call of the JavaScript thread: sends what may be sent now, leaves the rest to the engine thread,
  // and lets go of the lock.
  void finish(std::unique_lock<std::mutex>& lock);

  // send.cc
  void enqueue(Channel& channel);
  Channel* next();
  // Sends until nothing is left, the socket is full or `budget` bytes of flows are sent; true when more
  // could be sent at once.
  bool run(size_t budget);
  bool gathers() const;
  bool turn(Channel& channel);
  void send_eof(Channel& channel);
  void send_message(const uint8_t* payload, size_t length);
  bool write();
  void reserve(size_t room);
  void note_use(uint32_t channel, Time now);
  // Sends go on where the limit on bytes under way has held them up for too long.
  void lift_limits();
  bool limited(Time now) const { return limits_ && shared(now); }
  bool shared(Time now) const { return now - turns_taken_at_ < limits::kSharedUs; }
  // A flow of small pieces, as a dialogue sends them, shares the connection: whatever keeps the engine thread
  // from the next of them is cut short.
  bool attended(Time now) const { return shared(now) && now - small_turn_at_ < limits::kSharedUs; }
  size_t quantum(Time now) const { return attended(now) ? limits::kQuantumAttended : limits::kQuantum; }
  // Bytes that run() may send for flows in one turn of the engine thread.
  size_t budget(Time now) const { return attended(now) ? limits::kQuantumAttended : limits::kServeBytes; }

  int reads_in_a_row();

  // receive.cc
  bool receive();
  bool read();
  void take(const uint8_t* payload, size_t length);
  void take_confirmation(const uint8_t* payload, size_t length);
  bool take_data(const uint8_t* payload, size_t length);
  bool take_adjust(const uint8_t* payload, size_t length);
  bool take_eof(const uint8_t* payload, size_t length);
  bool ends_in_order(const uint8_t* payload, size_t length);
  void count(Channel& channel, uint32_t bytes, size_t queued);
  void invite(Channel& channel);
  void send_invitation(Channel& channel);

  const std::shared_ptr<engine::Engine> engine_;
  const std::function<void()> notify_;
  const uint32_t base_;

  // Guards the receiving side; taken before `mutex_`.
  std::mutex receive_mutex_;
  std::shared_ptr<Opener> opener_;
  std::unique_ptr<uint8_t[]> received_;
  size_t received_at_ = 0;
  size_t received_end_ = 0;
  bool readable_ = true;
  bool hung_up_ = false;   // the end of the socket is in sight, and nothing more will be told of it
  bool keys_due_ = false;  // a NEWKEYS came, and its keys have not

  // Guards all below; the engine's lock may be taken while it is held, not the reverse.
  std::mutex mutex_;
  int fd_;
  bool closed_ = false;
  std::vector<std::unique_ptr<Channel>> channels_;  // by number
  // At most as many as opens are under way (SSH_OPENS_MAX in src/core/limits.ts).
  std::vector<Expected> expected_;
  Time round_trip_ = tcp::kNever;
  uint64_t window_max_ = limits::kChannelWindowMax;
  std::shared_ptr<Sealer> sealer_;
  std::deque<uint32_t> fresh_;  // had nothing to send, and has now
  std::deque<uint32_t> waiting_;
  int fresh_in_a_row_ = 0;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool blocked_ = false;  // the socket took no more; the engine tells when it does
  bool held_ = false;     // keys are being exchanged
  bool drained_wanted_ = false;
  bool limits_ = true;  // on bytes under way (credit.h)
  uint32_t last_used_ = UINT32_MAX;
  Time turns_taken_at_ = 0;
  Time small_turn_at_ = 0;  // when a flow had little to send, and nothing more
  Time bulk_turn_at_ = 0;   // when a flow had more
  uint64_t received_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  std::vector<uint8_t> inbox_;
  uint64_t messages_ = 0;        // ever put into the inbox
  uint64_t messages_taken_ = 0;  // of these, handed to JavaScript
  uint64_t messages_done_ = 0;   // of these, dealt with
  bool stalled_ = false;         // nothing is received until the inbox was taken
  std::vector<Item> news_;
  bool notified_ = false;
  Time news_due_ = tcp::kNever;  // when JavaScript is to be told of what can wait
};

}  // namespace netproxy::ssh
