#include "engine/datagrams.h"

#include <algorithm>
#include <cstring>

#include "constants.h"

namespace netproxy::engine {

namespace {

static_assert(limits::kDatagramBatchBytes >= kDatagramHeader + 65535 + 8);

constexpr size_t padded(size_t length) { return (length + 7) & ~size_t{7}; }

}  // namespace

bool Datagrams::push(const packet::Datagram& datagram) {
  const size_t size = padded(kDatagramHeader + datagram.payload_length);
  if (records_.size() >= limits::kDatagramQueue || bytes_ + size > limits::kDatagramQueueBytes) return false;
  std::vector<uint8_t> record(size);
  const auto length = static_cast<uint32_t>(datagram.payload_length);
  std::memcpy(record.data(), &length, 4);
  record[4] = static_cast<uint8_t>(datagram.protocol);
  record[5] = datagram.family;
  record[6] = datagram.whole ? 1 : 0;
  std::memcpy(record.data() + 8, &datagram.source_port, 2);
  std::memcpy(record.data() + 10, &datagram.destination_port, 2);
  std::copy(datagram.source.begin(), datagram.source.end(), record.begin() + 16);
  std::copy(datagram.destination.begin(), datagram.destination.end(), record.begin() + 32);
  std::copy_n(datagram.payload, datagram.payload_length, record.begin() + kDatagramHeader);
  bytes_ += size;
  records_.push_back(std::move(record));
  return true;
}

size_t Datagrams::take(uint8_t* out, size_t room) {
  size_t count = 0;
  while (!records_.empty() && records_.front().size() <= room) {
    const std::vector<uint8_t>& record = records_.front();
    out = std::copy(record.begin(), record.end(), out);
    room -= record.size();
    bytes_ -= record.size();
    records_.pop_front();
    ++count;
  }
  return count;
}

bool read_datagram_header(const uint8_t* record, packet::Datagram& out) {
  if ((record[4] != 1 && record[4] != 2) || (record[5] != 4 && record[5] != 6)) return false;
  uint32_t length;
  std::memcpy(&length, record, 4);
  if (length > 65535) return false;
  out.payload_length = length;
  out.protocol = static_cast<packet::DatagramProtocol>(record[4]);
  out.family = record[5];
  std::memcpy(&out.source_port, record + 8, 2);
  std::memcpy(&out.destination_port, record + 10, 2);
  std::copy_n(record + 16, 16, out.source.begin());
  std::copy_n(record + 32, 16, out.destination.begin());
  return true;
}

}  // namespace netproxy::engine
