// Puts IP fragments together again (IPv4: RFC 791, 3.2; IPv6: RFC 8200, 4.5). Packets and time in, packets
// out; owns no clock. Bounded in datagrams, bytes, pieces and time: the oldest gives way.
//
// Fragments that overlap, but for exact copies, void their datagram (RFC 5722): no sender makes them but one
// that wants a filter to see something else than the receiver. No "time exceeded" is sent: the sender is
// a program of the same machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "packet/ip.h"

namespace netproxy::packet {

class Reassembly {
 public:
  struct Counters {
    uint64_t whole = 0;    // datagrams put together
    uint64_t voided = 0;   // for overlaps and contradictions
    uint64_t expired = 0;  // for their age, or for the bounds
  };

  // Takes a fragment, `now` in microseconds. Returns the whole packet, with a plain IP header, when it was
  // the last one missing; valid until the next call.
  const std::vector<uint8_t>* take(const IpPacket& fragment, uint64_t now);

  size_t waiting() const { return waiting_.size(); }
  size_t bytes() const { return bytes_; }
  const Counters& counters() const { return counters_; }

 private:
  struct Waiting {
    uint8_t family;
    uint8_t protocol;  // IPv4: part of the key; IPv6: what the first fragment says
    uint32_t id;
    Address source;
    Address destination;
    uint64_t since;
    bool voided = false;  // remembered, so that its other fragments make no new one
    size_t total = 0;     // bytes of the whole payload; 0: the last fragment has not come
    size_t have = 0;
    std::vector<std::pair<size_t, size_t>> pieces{};  // from, to; sorted
    std::vector<uint8_t> payload{};
  };
  using Place = std::deque<Waiting>::iterator;

  Place find(const IpPacket& fragment, uint64_t now);
  void drop(Place place);
  void void_it(Waiting& waiting);
  void expire(uint64_t now);

  std::deque<Waiting> waiting_;  // oldest first
  size_t bytes_ = 0;
  std::vector<uint8_t> whole_;
  Counters counters_;
};

}  // namespace netproxy::packet
