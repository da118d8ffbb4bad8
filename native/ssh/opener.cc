#include "ssh/opener.h"

#include <algorithm>
#include <cstring>

#include "packet/bytes.h"

namespace netproxy::ssh {

namespace {

using packet::get32;

constexpr uint8_t kChannelData = 94;  // SSH_MSG_CHANNEL_DATA
constexpr size_t kDataHeader = 1 + 4 + 4;

bool length_good(size_t body) {
  return body >= kBlock && body % kBlock == 0 && kLengthField + body + kTag <= kLargestPacket;
}

}  // namespace

void Routes::set(uint32_t channel, Route route) {
  if (channel >= routes_.size()) routes_.resize(size_t{channel} + 1);
  routes_[channel] = route;
}

void Routes::remove(uint32_t channel) {
  if (channel < routes_.size()) routes_[channel] = {};
}

const Routes::Route* Routes::find(uint32_t channel) const {
  return channel < routes_.size() && routes_[channel].engine != nullptr ? &routes_[channel] : nullptr;
}

Opener::Opener(const uint8_t* key, size_t key_length, const uint8_t* iv)
    : gcm_(Gcm::Direction::kOpen, key, key_length, iv), carry_(new uint8_t[carry_bytes()]) {}

Opener::Result Opener::open(uint8_t* data, size_t at, size_t end, const Routes* routes, uint32_t base,
                            Report* reports) {
  Result result{.status = Status::kMore, .next = at};
  // One channel may need a new entry for each packet; so long as one is free the packet can be told.
  while (result.reports < kReports) {
    uint8_t* packet;
    size_t body;
    if (carried_ == 0 && end - at >= kLengthField) {
      body = get32(data + at);
      if (!length_good(body)) {
        result.status = Status::kBadLength;
        return result;
      }
      packet = data + at;
      const size_t whole = kLengthField + body + kTag;
      if (end - at < whole) {
        carried_ = end - at;
        std::memcpy(carry_.get(), packet, carried_);
        result.next = end;
        return result;
      }
      at += whole;
    } else {
      // The packet began in an earlier read, or its length field is not whole.
      if (carried_ < kLengthField) {
        const size_t part = std::min(kLengthField - carried_, end - at);
        std::memcpy(carry_.get() + carried_, data + at, part);
        carried_ += part;
        at += part;
        if (carried_ < kLengthField) {
          result.next = end;
          return result;
        }
      }
      body = get32(carry_.get());
      if (!length_good(body)) {
        result.status = Status::kBadLength;
        return result;
      }
      const size_t whole = kLengthField + body + kTag;
      const size_t part = std::min(whole - carried_, end - at);
      std::memcpy(carry_.get() + carried_, data + at, part);
      carried_ += part;
      at += part;
      if (carried_ < whole) {
        result.next = end;
        return result;
      }
      packet = carry_.get();
      carried_ = 0;
    }
    result.next = at;
    if (!gcm_.open(packet, body)) {
      result.status = Status::kBadTag;
      return result;
    }
    ++result.packets;
    const size_t padding = packet[kLengthField];
    if (padding + 1 > body) {
      result.status = Status::kBadLength;
      return result;
    }
    const uint8_t* const payload = packet + kLengthField + 1;
    const size_t length = body - 1 - padding;
    if (!deliver(payload, length, routes, base, reports, result)) {
      result.status = Status::kPayload;
      result.payload = payload;
      result.payload_length = length;
      return result;
    }
    if (at == end) return result;
  }
  result.status = Status::kReportsFull;
  return result;
}

// True when the payload was the data of a channel that is joined to a flow.
bool Opener::deliver(const uint8_t* payload, size_t length, const Routes* routes, uint32_t base,
                     Report* reports, Result& result) {
  if (routes == nullptr || length < kDataHeader || payload[0] != kChannelData) return false;
  const uint32_t channel = get32(payload + 1) - base;
  const size_t bytes = get32(payload + 5);
  const Routes::Route* const route = routes->find(channel);
  if (route == nullptr || bytes != length - kDataHeader) return false;
  const size_t queued = route->engine->write(route->flow, payload + kDataHeader, bytes);
  Report* report = result.reports > 0 ? &reports[result.reports - 1] : nullptr;
  if (report == nullptr || report->channel != channel) {
    report = &reports[result.reports++];
    *report = {channel, 0, 0};
  }
  report->bytes += static_cast<uint32_t>(bytes);
  report->queued = static_cast<uint32_t>(queued);
  return true;
}

}  // namespace netproxy::ssh
