#include "ssh/gcm.h"

#include <openssl/evp.h>

#include <cstring>
#include <stdexcept>

#include "packet/bytes.h"

namespace netproxy::ssh {

void Gcm::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

Gcm::Gcm(Direction direction, const uint8_t* key, size_t key_length, const uint8_t* iv, uint32_t sequence)
    : PacketCipher(sequence), context_(EVP_CIPHER_CTX_new()), direction_(direction) {
  const EVP_CIPHER* const cipher = key_length == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
  const int encrypt = direction == Direction::kSeal ? 1 : 0;
  if (context_ == nullptr || EVP_CipherInit_ex(context_.get(), cipher, nullptr, key, iv, encrypt) != 1) {
    throw std::runtime_error("AES-GCM is not available");
  }
  std::memcpy(iv_, iv, kIv);
}

Gcm::~Gcm() = default;

// RFC 5647, 7.1: the last eight bytes count invocations, most significant first.
bool Gcm::next() {
  const bool set = EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr, iv_, -1) == 1;
  for (size_t at = kIv; at-- > kIv - 8;) {
    if (++iv_[at] != 0) break;
  }
  return set;
}

uint32_t Gcm::length(const uint8_t* field) { return packet::get32(field); }

bool Gcm::do_seal(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length) {
  int written = 0;
  uint8_t* const text = packet + kLengthField;
  uint8_t* const tail = text + head + data_length;
  const size_t tail_length = body - head - data_length;
  EVP_CIPHER_CTX* const context = context_.get();
  return direction_ == Direction::kSeal && next() &&
         EVP_EncryptUpdate(context, nullptr, &written, packet, kLengthField) == 1 &&
         EVP_EncryptUpdate(context, text, &written, text, static_cast<int>(head)) == 1 &&
         (data_length == 0 ||
          EVP_EncryptUpdate(context, text + head, &written, data, static_cast<int>(data_length)) == 1) &&
         (tail_length == 0 ||
          EVP_EncryptUpdate(context, tail, &written, tail, static_cast<int>(tail_length)) == 1) &&
         EVP_EncryptFinal_ex(context, text + body, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, kTag, text + body) == 1;
}

bool Gcm::do_open(uint8_t* packet, size_t body) {
  int written = 0;
  uint8_t* const text = packet + kLengthField;
  EVP_CIPHER_CTX* const context = context_.get();
  return direction_ == Direction::kOpen && next() &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, kTag, text + body) == 1 &&
         EVP_DecryptUpdate(context, nullptr, &written, packet, kLengthField) == 1 &&
         EVP_DecryptUpdate(context, text, &written, text, static_cast<int>(body)) == 1 &&
         EVP_DecryptFinal_ex(context, text + body, &written) == 1;
}

}  // namespace netproxy::ssh
