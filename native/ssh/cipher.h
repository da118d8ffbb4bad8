// Packet protection of SSH by authenticated ciphers, one direction of a connection. Both kinds lay a packet
// out alike:
//
//   uint32    packet_length
//   byte      padding_length         encrypted, as are the next two; a multiple of the block together
//   byte[n1]  payload
//   byte[n2]  padding, 4 to 255
//   byte[16]  authentication tag
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace netproxy::ssh {

inline constexpr size_t kLengthField = 4;
inline constexpr size_t kTag = 16;
// What we pad to: the block of AES, and a multiple of that of chacha20-poly1305.
inline constexpr size_t kBlock = 16;

// RFC 4253, 6.1: 35000 bytes must be taken; nothing larger is.
inline constexpr size_t kLargestPacket = 35000;

enum class Direction { kSeal, kOpen };

// What the cipher of one direction begins with. `key_length` tells them apart: 16 or 32 bytes are AES-GCM
// with an initial vector, 64 chacha20-poly1305@openssh.com without one.
struct Keys {
  const uint8_t* key;
  size_t key_length;
  const uint8_t* iv;
  size_t iv_length;
  // Number of the next packet (RFC 4253, 6.4).
  uint32_t sequence;
};

class PacketCipher {
 public:
  // Throws std::runtime_error when a length is wrong or OpenSSL refuses.
  static std::unique_ptr<PacketCipher> make(Direction direction, const Keys& keys);

  explicit PacketCipher(uint32_t sequence) : sequence_(sequence) {}
  virtual ~PacketCipher() = default;
  PacketCipher(const PacketCipher&) = delete;
  PacketCipher& operator=(const PacketCipher&) = delete;

  // Protects `packet` in place: length field, `body` bytes, and room for the tag.
  bool seal(uint8_t* packet, size_t body) { return seal_around(packet, body, body, nullptr, 0); }

  // The same with `data` in the place of the `data_length` bytes after the first `head` of the body, which
  // are not looked at: they become the protected data.
  bool seal_around(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length) {
    const bool sealed = do_seal(packet, body, head, data, data_length);
    ++sequence_;
    return sealed;
  }

  // Bytes of the body of the next packet, which begins with `field`; not checked yet. 0 on failure.
  virtual uint32_t length(const uint8_t* field) = 0;

  // Decrypts in place and checks; on false the packet's content is worthless. The length field is left as
  // it came.
  bool open(uint8_t* packet, size_t body) {
    const bool opened = do_open(packet, body);
    ++sequence_;
    return opened;
  }

  // What the length of a body is a multiple of.
  virtual size_t block() const = 0;

  // Number of the next packet, which wraps.
  uint32_t sequence() const { return sequence_; }

 private:
  virtual bool do_seal(uint8_t* packet, size_t body, size_t head, const uint8_t* data,
                       size_t data_length) = 0;
  virtual bool do_open(uint8_t* packet, size_t body) = 0;

  uint32_t sequence_;
};

}  // namespace netproxy::ssh
