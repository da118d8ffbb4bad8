// Hop 1 of 8 (docs/data-path.md): packets from the TUN, up to the protocol that takes them. After it,
// native/tcp and src/engine make a flow of a SYN.
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/clock.h"
#include "engine/engine.h"
#include "packet/checksum.h"

namespace netproxy::engine {

namespace {

// The kernel vouches for a packet that it made itself and left to be summed up (NEEDS_CSUM), or has
// checked (DATA_VALID). Anything else is forwarded or raw and is checked here.
bool checksum_good(const packet::IpPacket& ip, uint8_t vnet_flags) {
  if ((vnet_flags & (packet::kVnetNeedsChecksum | packet::kVnetDataValid)) != 0) return true;
  const uint64_t pseudo =
      packet::pseudo_header_sum(ip.family, ip.source, ip.destination, ip.protocol, ip.payload_length);
  return packet::checksum_fold(packet::checksum_add(ip.payload, ip.payload_length, pseudo)) == 0xffff;
}

}  // namespace

bool Engine::read_batch() {
  size_t bytes = 0;
  for (int i = 0; i < limits::kReadBatch && bytes < limits::kReadBatchBytes; ++i) {
    if (read_slab_ == Slabs::kNone) {
      const std::lock_guard lock(mutex_);
      read_slab_ = slabs_.acquire();
      // The reader's own slab is kept back from flows (Slabs::scarce), so one is always there.
      if (read_slab_ == Slabs::kNone) return false;
    }
    uint8_t vnet[packet::kVnetHeader];
    uint8_t* const packet = slabs_.at(read_slab_);
    const iovec pieces[] = {{vnet, sizeof vnet}, {packet, limits::kSlabBytes}};
    const ssize_t size = readv(tun_, pieces, 2);
    if (size < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      if (errno == EBADFD || errno == ENODEV || errno == EBADF) device_lost();
      return false;
    }
    ++device_.packets_in;
    if (size <= static_cast<ssize_t>(sizeof vnet)) continue;
    bytes += static_cast<size_t>(size);
    input(packet, static_cast<size_t>(size) - sizeof vnet, vnet, read_slab_);
    // Bulk data is told of once a batch: a turn of JavaScript costs as much as 64 KiB of work.
    if (static_cast<size_t>(size) < limits::kKeepSlabBytes) notify_if_due();
  }
  return true;
}

void Engine::input(const uint8_t* data, size_t length, const uint8_t* vnet, uint32_t slab) {
  const uint8_t vnet_flags = vnet[0];
  packet::IpPacket ip;
  switch (packet::parse_ip(data, length, ip)) {
    case packet::IpParse::kMalformed:
      ++device_.dropped_malformed;
      return;
    case packet::IpParse::kFragment:
      ++device_.fragments;
      reassemble(ip);
      return;
    case packet::IpParse::kOk:
      break;
  }
  if (ip.multicast_or_broadcast()) {
    ++device_.dropped_other;
    return;
  }
  if (ip.protocol != packet::kProtocolTcp) {
    // What was put together of fragments may be cut again.
    if (slab == Slabs::kNone) ip.dont_fragment = false;
    input_datagram(ip, vnet);
    return;
  }
  if (!checksum_good(ip, vnet_flags)) {
    ++device_.dropped_malformed;
    return;
  }
  const std::lock_guard lock(mutex_);
  if (slab == Slabs::kNone) {
    stack_.input(ip, slab, now());
    return;
  }
  const size_t before = slabs_.references(slab);
  stack_.input(ip, slab, now());
  // A flow kept the payload: the slab is no longer the reader's.
  if (slabs_.references(slab) != before) {
    slabs_.release(slab);
    read_slab_ = Slabs::kNone;
  }
}

void Engine::reassemble(const packet::IpPacket& fragment) {
  const auto* const whole = reassembly_.take(fragment, now());
  const auto& counters = reassembly_.counters();
  device_.reassembled = counters.whole;
  device_.reassembly_voided = counters.voided;
  device_.reassembly_expired = counters.expired;
  // What TCP keeps of it is copied: it lies in no slab.
  constexpr uint8_t kNoVnet[packet::kVnetHeader] = {};
  if (whole != nullptr) input(whole->data(), whole->size(), kNoVnet, Slabs::kNone);
}

void Engine::input_datagram(const packet::IpPacket& ip, const uint8_t* vnet) {
  const bool vouched = (vnet[0] & (packet::kVnetNeedsChecksum | packet::kVnetDataValid)) != 0;
  packet::Datagram datagram;
  switch (packet::parse_datagram(ip, vouched, datagram)) {
    case packet::DatagramParse::kMalformed:
      ++device_.dropped_malformed;
      return;
    case packet::DatagramParse::kOther:
      ++device_.dropped_other;
      return;
    case packet::DatagramParse::kOk:
      break;
  }
  uint16_t each;
  std::memcpy(&each, vnet + packet::kVnetGsoSizeAt, sizeof each);
  if (vnet[packet::kVnetGsoTypeAt] != packet::kVnetGsoUdp || each == 0) each = UINT16_MAX;
  const uint8_t* const end = datagram.payload + datagram.payload_length;
  const std::lock_guard lock(mutex_);
  do {
    datagram.payload_length = std::min<size_t>(each, static_cast<size_t>(end - datagram.payload));
    if (!datagrams_.push(datagram)) {
      ++device_.dropped_datagrams;
    } else if (!datagrams_told_) {
      datagrams_told_ = true;
      tell({.type = EventType::kDatagrams});
    }
    datagram.payload += datagram.payload_length;
  } while (datagram.payload < end);
}

size_t Engine::datagrams(uint8_t* out, size_t room) {
  const std::lock_guard lock(mutex_);
  if (datagrams_.empty()) datagrams_told_ = false;
  return datagrams_.take(out, room);
}

void Engine::answer(const packet::Datagram& request, const uint8_t* payload, size_t length) {
  packet::OutPacket out;
  packet::finish_answer(out, request, payload, length);
  const std::lock_guard lock(mutex_);
  emit(out);
}

void Engine::refuse(const packet::Datagram& request, packet::Refusal why, uint32_t mtu) {
  packet::OutPacket out;
  ++device_.refused_datagrams;
  packet::finish_refusal(out, request, why, mtu);
  const std::lock_guard lock(mutex_);
  emit(out);
}

}  // namespace netproxy::engine
