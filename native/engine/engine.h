// The engine thread: reads the TUN, runs the TCP endpoint, writes the TUN, keeps time.
//
// One lock guards all state. The engine thread holds it for one packet's processing at a time and
// never while it reads or writes bulk data; the JavaScript thread calls in under the same lock and
// sends small segments itself, which spares them a thread switch.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/datagrams.h"
#include "engine/events.h"
#include "engine/outlet.h"
#include "engine/slabs.h"
#include "packet/reassembly.h"
#include "tcp/stack.h"

namespace netproxy::engine {

struct DeviceCounters {
  std::atomic<uint64_t> packets_in = 0;
  std::atomic<uint64_t> packets_out = 0;
  std::atomic<uint64_t> write_errors = 0;
  std::atomic<uint64_t> fragments = 0;
  std::atomic<uint64_t> reassembled = 0;
  std::atomic<uint64_t> reassembly_voided = 0;   // for overlaps and contradictions
  std::atomic<uint64_t> reassembly_expired = 0;  // for their age, or for the bounds
  std::atomic<uint64_t> dropped_malformed = 0;
  std::atomic<uint64_t> dropped_other = 0;  // no protocol of ours, or to a multicast address
  std::atomic<uint64_t> refused_datagrams = 0;
  std::atomic<uint64_t> dropped_datagrams = 0;  // for the bounds of the queue
};

class Engine final : public tcp::Events {
 public:
  // Takes ownership of `tun`. `notify` is called from the engine thread when events wait and the last
  // poll() had seen none; it must not block. That a flow has ended in order keeps nobody waiting: it is told
  // of together with what comes next, or after limits::kNewsDelayUs.
  Engine(int tun, const tcp::Config& config, std::function<void()> notify);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Ends the thread and closes the TUN. Flows are left as they are: the device is gone.
  void stop();

  // Copies at most `max` events; fewer than `max` means that none is left.
  size_t poll(Event* out, size_t max);

  void accept(tcp::FlowId id);
  void reject(tcp::FlowId id, tcp::Reject reason);
  void drop(tcp::FlowId id);
  void abort(tcp::FlowId id);
  size_t write(tcp::FlowId id, const uint8_t* data, size_t length);
  void end(tcp::FlowId id);
  tcp::ReceiveQueue::View take(tcp::FlowId id, size_t max);
  // The next bytes of a flow: lent where they lie, when that is a slab, and copied to `out` otherwise. A
  // lent slab keeps its bytes, whatever becomes of the flow, until give_back(), which also takes them off
  // the flow. `ended`, of a copy and of give_back(): as for taken().
  struct Lent {
    const uint8_t* data;
    size_t length;
    uint32_t slab;  // Slabs::kNone: copied, nothing is to be given back
    bool ended;
  };
  Lent lend(tcp::FlowId id, uint8_t* out, size_t max);
  bool give_back(tcp::FlowId id, const Lent& lent);
  // True when the application's half is closed and nothing waits.
  bool taken(tcp::FlowId id, size_t length);
  bool ended(tcp::FlowId id);
  // Sends what the calls of a JavaScript turn have left owed, by the calling thread: a turn's many calls
  // cost no wake-up of the engine thread at all. True when the calls themselves made events.
  bool settle();

  // The same for threads that are in no turn of JavaScript's: it is told of events.
  void settle_and_notify();

  // From now on `outlet` is told of the flow's bytes and of its drain, under the number `channel`, and
  // JavaScript is not; of the flow's end JavaScript still is. Nothing where the flow is no more.
  void join(tcp::FlowId id, std::shared_ptr<Outlet> outlet, uint32_t channel);
  void unjoin(tcp::FlowId id);
  // Has the engine thread call the outlet, which has more to do; serve_by(): when that time has come.
  void serve_again(std::shared_ptr<Outlet> outlet);
  void serve_by(std::shared_ptr<Outlet> outlet, tcp::Time at);
  // As write(), by the engine thread, which sends what is owed when its turn is over.
  size_t deliver(tcp::FlowId id, const uint8_t* data, size_t length);
  // Calls the outlet whenever `fd` has become readable or, having been full, takes bytes again.
  void watch(int fd, std::shared_ptr<Outlet> outlet);
  void unwatch(int fd);

  // Moves waiting datagrams to `out` (engine/datagrams.h); 0 means that none is left, and the next one is
  // told of by an event.
  size_t datagrams(uint8_t* out, size_t room);
  void answer(const packet::Datagram& request, const uint8_t* payload, size_t length);
  void refuse(const packet::Datagram& request, packet::Refusal why, uint32_t mtu);

  struct Snapshot {
    size_t flows, pending_dials, timers, slabs_in_use, blocks_in_use, received_bytes;
    tcp::Counters tcp;
  };
  Snapshot snapshot();
  const DeviceCounters& device() const { return device_; }
  Slabs& slabs() { return slabs_; }

  // tcp::Events, called under the lock.
  void opened(const tcp::Connection& connection) override;
  void readable(tcp::FlowId id) override;
  void drained(tcp::FlowId id) override;
  void closed(tcp::FlowId id, tcp::End end) override;
  bool crowded() const override { return events_.size() - events_read_ >= limits::kEventsWaiting; }

 private:
  struct Join {
    tcp::FlowId id = 0;
    uint32_t channel = 0;
    std::shared_ptr<Outlet> outlet;
    bool drained = false;
  };
  static constexpr uint32_t kNoChannel = UINT32_MAX;
  struct Appointment {
    tcp::Time at;
    std::shared_ptr<Outlet> outlet;
  };
  struct Watch {
    int fd;
    std::shared_ptr<Outlet> outlet;
  };

  void run();
  void serve();
  void polled(int fd, uint32_t events);
  // Reads at most a batch; false when the TUN had no more.
  bool read_batch();
  void input(const uint8_t* packet, size_t length, const uint8_t* vnet, uint32_t slab);
  void reassemble(const packet::IpPacket& fragment);
  void input_datagram(const packet::IpPacket& ip, const uint8_t* vnet);
  void flush();
  void emit(const packet::OutPacket& out);
  void emit_now(tcp::FlowId id);
  void emit_control();
  void wake();
  void wake_for_deadline();
  void notify_if_due();
  void tell(const Event& event);
  tcp::Time next_deadline() const;
  void keep_appointments();
  const Join* joined(tcp::FlowId id) const;
  void device_lost();

  const int tun_;
  int wake_ = -1;
  int poll_ = -1;
  std::function<void()> notify_;
  std::thread thread_;
  std::atomic<bool> stopping_ = false;
  bool closed_ = false;  // the TUN is closed: its number may be another file's by now
  DeviceCounters device_;
  uint32_t read_slab_ = Slabs::kNone;                // engine thread only
  packet::Reassembly reassembly_;                    // engine thread only
  std::vector<Join> serving_;                        // engine thread only: taken from ready_
  std::vector<std::shared_ptr<Outlet>> unfinished_;  // engine thread only: to be called again

  std::mutex mutex_;  // guards all below
  Slabs slabs_;
  tcp::Stack stack_;
  std::vector<tcp::FlowId> written_;       // flows with bulk data since the last settle()
  std::vector<Join> joins_;                // by flow slot; an entry of an earlier flow matches no number
  std::vector<Join> ready_;                // joined flows with news for their outlets
  std::vector<Appointment> appointments_;  // at most one for each outlet, by its own care
  std::vector<Watch> watches_;
  std::vector<Event> events_;
  size_t events_read_ = 0;
  tcp::Time events_due_ = tcp::kNever;  // when JavaScript is to be told of them
  Datagrams datagrams_;
  bool datagrams_told_ = false;
  bool notified_ = false;
  tcp::Time sleeping_until_ = 0;  // when the engine thread will look at the clock; 0: it is awake
};

}  // namespace netproxy::engine
