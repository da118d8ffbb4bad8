// The receiving side of an SSH connection: takes packets apart, one at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "ssh/cipher.h"

namespace netproxy::ssh {

class Opener {
 public:
  // Throws std::runtime_error as PacketCipher::make does.
  explicit Opener(const Keys& keys);

  enum class Status : uint32_t { kMore = 0, kPayload = 1, kBadLength = 2, kBadTag = 3 };

  struct Result {
    Status status;
    size_t next;  // how far `data` is used up
    const uint8_t* payload = nullptr;
    size_t payload_length = 0;
  };
  // Takes the next packet from `data`, in place, or keeps the part of it that is there. The payload is
  // valid until the next call.
  Result open(uint8_t* data, size_t at, size_t end);

  // Number of the next packet.
  uint32_t sequence() const { return cipher_->sequence(); }

 private:
  static constexpr size_t kCarryBytes = kLengthField + kLargestPacket + kTag;

  bool length_good(size_t body) const;

  std::unique_ptr<PacketCipher> cipher_;
  std::unique_ptr<uint8_t[]> carry_;
  size_t carried_ = 0;
};

}  // namespace netproxy::ssh
