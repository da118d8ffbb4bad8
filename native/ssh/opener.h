// The receiving side of an SSH connection: takes the packets apart, and gives the data of channels that
// are joined to a flow straight to the engine. Everything else is handed back, in order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "ssh/gcm.h"

namespace netproxy::ssh {

// Which flow a channel's data belongs to. Lives as long as the connection, longer than any key.
class Routes {
 public:
  struct Route {
    std::shared_ptr<engine::Engine> engine;
    tcp::FlowId flow = 0;
  };
  void set(uint32_t channel, Route route);
  void remove(uint32_t channel);
  const Route* find(uint32_t channel) const;

 private:
  std::vector<Route> routes_;
};

class Opener {
 public:
  Opener(const uint8_t* key, size_t key_length, const uint8_t* iv);

  enum class Status : uint32_t { kMore = 0, kPayload = 1, kBadLength = 2, kBadTag = 3, kReportsFull = 4 };

  // What was given to the engine for one channel in one call.
  struct Report {
    uint32_t channel;
    uint32_t bytes;
    uint32_t queued;  // in the engine, afterwards
  };
  static constexpr size_t kReports = 64;

  struct Result {
    Status status;
    size_t next;  // how far `data` is used up
    const uint8_t* payload = nullptr;
    size_t payload_length = 0;
    uint32_t packets = 0;
    size_t reports = 0;
  };
  // Takes packets from `data` until one is not for a flow, or until the data ends: the rest of a packet
  // that is not whole is kept. `base` is the first channel number of ours. Decrypts in place.
  Result open(uint8_t* data, size_t at, size_t end, const Routes* routes, uint32_t base, Report* reports);

  uint8_t* carry() { return carry_.get(); }
  static constexpr size_t carry_bytes() { return kLengthField + kLargestPacket + kTag; }

 private:
  bool deliver(const uint8_t* payload, size_t length, const Routes* routes, uint32_t base, Report* reports,
               Result& result);

  Gcm gcm_;
  std::unique_ptr<uint8_t[]> carry_;
  size_t carried_ = 0;
};

}  // namespace netproxy::ssh
