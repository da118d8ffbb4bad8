#include "packet/reassembly.h"

#include <algorithm>
#include <cstring>

#include "constants.h"

namespace netproxy::packet {

namespace {

// Payload of the largest packet of either family.
size_t largest_payload(uint8_t family) { return family == 4 ? 65535 - kIp4Header : 65535; }

}  // namespace

const std::vector<uint8_t>* Reassembly::take(const IpPacket& fragment, uint64_t now) {
  expire(now);
  const size_t from = fragment.fragment_offset;
  const size_t to = from + fragment.payload_length;
  // All but the last are multiples of eight bytes, and none is empty.
  if (fragment.payload_length == 0 || to > largest_payload(fragment.family) ||
      (fragment.more_fragments && fragment.payload_length % 8 != 0)) {
    return nullptr;
  }
  const Place place = find(fragment, now);
  Waiting& waiting = *place;
  if (waiting.voided) return nullptr;
  const auto at = std::lower_bound(waiting.pieces.begin(), waiting.pieces.end(), std::pair{from, to});
  if (at != waiting.pieces.end() && *at == std::pair{from, to}) return nullptr;
  const bool overlaps = (at != waiting.pieces.end() && at->first < to) ||
                        (at != waiting.pieces.begin() && std::prev(at)->second > from);
  const bool contradicts =
      (waiting.total != 0 && (to > waiting.total || (!fragment.more_fragments && to != waiting.total))) ||
      (!fragment.more_fragments && !waiting.pieces.empty() && waiting.pieces.back().second > to);
  if (overlaps || contradicts || waiting.pieces.size() >= limits::kReassemblyPieces) {
    void_it(waiting);
    return nullptr;
  }
  waiting.pieces.insert(at, {from, to});
  if (waiting.payload.size() < to) {
    bytes_ += to - waiting.payload.size();
    waiting.payload.resize(to);
  }
  std::memcpy(waiting.payload.data() + from, fragment.payload, fragment.payload_length);
  waiting.have += fragment.payload_length;
  if (from == 0) waiting.protocol = fragment.protocol;
  if (!fragment.more_fragments) waiting.total = to;
  if (waiting.total == 0 || waiting.have < waiting.total) return nullptr;

  whole_.resize(kIp6Header + waiting.total);
  const size_t header = write_ip_header(whole_.data(), waiting.family, waiting.source, waiting.destination,
                                        waiting.protocol, waiting.total);
  std::memcpy(whole_.data() + header, waiting.payload.data(), waiting.total);
  whole_.resize(header + waiting.total);
  ++counters_.whole;
  drop(place);
  return &whole_;
}

Reassembly::Place Reassembly::find(const IpPacket& fragment, uint64_t now) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
    return waiting.id == fragment.fragment_id && waiting.family == fragment.family &&
           (waiting.family == 6 || waiting.protocol == fragment.protocol) &&
           waiting.source == fragment.source && waiting.destination == fragment.destination;
  });
  if (found != waiting_.end()) return found;
  waiting_.push_back({.family = fragment.family,
                      .protocol = fragment.protocol,
                      .id = fragment.fragment_id,
                      .source = fragment.source,
                      .destination = fragment.destination,
                      .since = now});
  return std::prev(waiting_.end());
}

void Reassembly::drop(Place place) {
  bytes_ -= place->payload.size();
  waiting_.erase(place);
}

void Reassembly::void_it(Waiting& waiting) {
  ++counters_.voided;
  waiting.voided = true;
  bytes_ -= waiting.payload.size();
  waiting.payload = {};
  waiting.pieces = {};
}

// Room for one more of the largest size.
void Reassembly::expire(uint64_t now) {
  while (!waiting_.empty()) {
    const Waiting& oldest = waiting_.front();
    const bool crowded =
        waiting_.size() >= limits::kReassemblies || bytes_ + 65535 > limits::kReassemblyBytes;
    if (!crowded && now - oldest.since < limits::kReassemblyUs) return;
    if (!oldest.voided) ++counters_.expired;
    drop(waiting_.begin());
  }
}

}  // namespace netproxy::packet
