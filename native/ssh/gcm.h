// AES-GCM packet protection of SSH as OpenSSH does it (aes128-gcm@openssh.com, aes256-gcm@openssh.com;
// RFC 5647 with the length in clear as additional data). The block is that of AES, 16 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ssh/cipher.h"

struct evp_cipher_ctx_st;

namespace netproxy::ssh {

// Key, and the invocation counter that every packet advances.
class Gcm final : public PacketCipher {
 public:
  static constexpr size_t kIv = 12;

  // `key_length` is 16 or 32. Throws std::runtime_error when OpenSSL refuses.
  Gcm(Direction direction, const uint8_t* key, size_t key_length, const uint8_t* iv, uint32_t sequence);
  ~Gcm() override;

  uint32_t length(const uint8_t* field) override;
  size_t block() const override { return 16; }

 private:
  bool do_seal(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length) override;
  bool do_open(uint8_t* packet, size_t body) override;
  bool next();

  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
  uint8_t iv_[kIv];
  Direction direction_;
};

}  // namespace netproxy::ssh
