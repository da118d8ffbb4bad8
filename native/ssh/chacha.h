// chacha20-poly1305@openssh.com (PROTOCOL.chacha20poly1305 of OpenSSH), for processors without instructions
// for AES. The length is encrypted too, by a key of its own, and the tag covers it as it is sent; the
// sequence number of the packet is the nonce.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ssh/cipher.h"

struct evp_cipher_ctx_st;
struct evp_mac_ctx_st;

namespace netproxy::ssh {

class ChaChaPoly final : public PacketCipher {
 public:
  // K_2, of the content, and K_1, of the length, in this order.
  static constexpr size_t kKey = 64;

  // Throws std::runtime_error when OpenSSL refuses.
  ChaChaPoly(Direction direction, const uint8_t* key, uint32_t sequence);
  ~ChaChaPoly() override;

  uint32_t length(const uint8_t* field) override;
  size_t block() const override { return 8; }

 private:
  bool do_seal(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length) override;
  bool do_open(uint8_t* packet, size_t body) override;

  bool start(evp_cipher_ctx_st* context, uint8_t counter);
  bool crypt_length(const uint8_t* in, uint8_t* out);
  // The tag of the next packet, whose length field and `body` bytes are as they are sent.
  bool authenticate(const uint8_t* packet, size_t body, uint8_t* tag);

  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
    void operator()(evp_mac_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> content_;
  std::unique_ptr<evp_cipher_ctx_st, Free> length_;
  std::unique_ptr<evp_mac_ctx_st, Free> mac_;
  Direction direction_;
};

}  // namespace netproxy::ssh
