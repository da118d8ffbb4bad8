// AES-GCM packet protection of SSH as OpenSSH does it (aes128-gcm@openssh.com, aes256-gcm@openssh.com;
// RFC 5647 with the length in clear as additional data).
//
//   uint32    packet_length          additional authenticated data, not encrypted
//   byte      padding_length         encrypted, as are the next two; a multiple of 16 bytes together
//   byte[n1]  payload
//   byte[n2]  padding, 4 to 255
//   byte[16]  authentication tag
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

struct evp_cipher_ctx_st;

namespace netproxy::ssh {

inline constexpr size_t kLengthField = 4;
inline constexpr size_t kTag = 16;
inline constexpr size_t kBlock = 16;
inline constexpr size_t kIv = 12;

// RFC 4253, 6.1: 35000 bytes must be taken; nothing larger is.
inline constexpr size_t kLargestPacket = 35000;

// One direction of a connection: key, and the invocation counter that every packet advances.
class Gcm {
 public:
  enum class Direction { kSeal, kOpen };

  // `key_length` is 16 or 32. Throws std::runtime_error when OpenSSL refuses.
  Gcm(Direction direction, const uint8_t* key, size_t key_length, const uint8_t* iv);
  ~Gcm();
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;

  // Protects `packet` in place: length field, `body` bytes, and room for the tag.
  bool seal(uint8_t* packet, size_t body);

  // The same with `data` in the place of the `data_length` bytes after the first `head` of the body, which
  // are not looked at: they become the protected data.
  bool seal_around(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length);

  // Decrypts in place and checks; on false the packet's content is worthless.
  bool open(uint8_t* packet, size_t body);

 private:
  bool next();

  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
  uint8_t iv_[kIv];
  Direction direction_;
};

}  // namespace netproxy::ssh
