// The sending side of an SSH connection: from what a flow has received to CHANNEL_DATA packets, ready
// for the socket, in one pass.
#pragma once

#include "engine/engine.h"
#include "ssh/cipher.h"

namespace netproxy::ssh {

class Sealer {
 public:
  // Throws std::runtime_error as PacketCipher::make does.
  explicit Sealer(const Keys& keys) : cipher_(PacketCipher::make(Direction::kSeal, keys)) {}

  // Protects a packet that somebody else has laid out, padding included: length field, body, tag.
  bool seal(uint8_t* packet, size_t length);

  // Lays out and protects one message; `out` has packet_bytes() of room. Returns its bytes, 0 on failure.
  size_t seal_payload(const uint8_t* payload, size_t length, uint8_t* out);
  static constexpr size_t packet_bytes(size_t payload) {
    return kLengthField + 1 + payload + 2 * kBlock + kTag;
  }

  // Number of the next packet.
  uint32_t sequence() const { return cipher_->sequence(); }

  struct Result {
    size_t written = 0;  // bytes of `out`
    size_t moved = 0;    // bytes of the flow
    size_t packets = 0;
    bool drained = false;  // the flow has no more now
    bool ended = false;    // the application has closed its half and nothing waits
    bool failed = false;
  };
  // Moves at most `max` bytes of the flow into packets of at most `largest` data bytes for the channel
  // that the server knows as `channel`.
  Result seal_flow(engine::Engine& engine, tcp::FlowId flow, uint32_t channel, size_t max, size_t largest,
                   uint8_t* out, size_t room);

 private:
  void pad(uint8_t* at, size_t length);

  std::unique_ptr<PacketCipher> cipher_;
  uint8_t random_[4096];
  size_t random_left_ = 0;
};

}  // namespace netproxy::ssh
