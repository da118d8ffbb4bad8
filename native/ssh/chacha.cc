#include "ssh/chacha.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <stdexcept>

#include "packet/bytes.h"

namespace netproxy::ssh {

namespace {

constexpr size_t kHalf = ChaChaPoly::kKey / 2;
constexpr size_t kPolyKey = 32;
// EVP_chacha20(3): a block counter of 8 bytes, least significant first, and a nonce of 8.
constexpr size_t kIv = 16;

bool crypt(EVP_CIPHER_CTX* context, const uint8_t* in, uint8_t* out, size_t length) {
  int written = 0;
  return length == 0 || EVP_CipherUpdate(context, out, &written, in, static_cast<int>(length)) == 1;
}

}  // namespace

void ChaChaPoly::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }
void ChaChaPoly::Free::operator()(evp_mac_ctx_st* context) const { EVP_MAC_CTX_free(context); }

ChaChaPoly::ChaChaPoly(Direction direction, const uint8_t* key, uint32_t sequence)
    : PacketCipher(sequence),
      content_(EVP_CIPHER_CTX_new()),
      length_(EVP_CIPHER_CTX_new()),
      direction_(direction) {
  EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
  mac_.reset(EVP_MAC_CTX_new(mac));
  EVP_MAC_free(mac);
  const auto keyed = [](EVP_CIPHER_CTX* context, const uint8_t* half) {
    const uint8_t iv[kIv] = {};
    return context != nullptr && EVP_EncryptInit_ex(context, EVP_chacha20(), nullptr, half, iv) == 1;
  };
  if (mac_ == nullptr || !keyed(content_.get(), key) || !keyed(length_.get(), key + kHalf)) {
    throw std::runtime_error("chacha20-poly1305 is not available");
  }
}

ChaChaPoly::~ChaChaPoly() = default;

// The stream of the next packet, from block `counter` on.
bool ChaChaPoly::start(evp_cipher_ctx_st* context, uint8_t counter) {
  uint8_t iv[kIv] = {counter};
  packet::put32(iv + kIv - 4, sequence());
  return EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, iv, -1) == 1;
}

bool ChaChaPoly::crypt_length(const uint8_t* in, uint8_t* out) {
  return start(length_.get(), 0) && crypt(length_.get(), in, out, kLengthField);
}

bool ChaChaPoly::authenticate(const uint8_t* packet, size_t body, uint8_t* tag) {
  // Block 0 of the content's stream is the key of this packet's tag.
  uint8_t key[kPolyKey] = {};
  size_t written = 0;
  const bool done = start(content_.get(), 0) && crypt(content_.get(), key, key, kPolyKey) &&
                    EVP_MAC_init(mac_.get(), key, kPolyKey, nullptr) == 1 &&
                    EVP_MAC_update(mac_.get(), packet, kLengthField + body) == 1 &&
                    EVP_MAC_final(mac_.get(), tag, &written, kTag) == 1 && written == kTag;
  OPENSSL_cleanse(key, kPolyKey);
  return done;
}

uint32_t ChaChaPoly::length(const uint8_t* field) {
  uint8_t clear[kLengthField];
  return crypt_length(field, clear) ? packet::get32(clear) : 0;
}

bool ChaChaPoly::do_seal(uint8_t* packet, size_t body, size_t head, const uint8_t* data, size_t data_length) {
  uint8_t* const text = packet + kLengthField;
  uint8_t* const tail = text + head + data_length;
  EVP_CIPHER_CTX* const content = content_.get();
  return direction_ == Direction::kSeal && crypt_length(packet, packet) && start(content, 1) &&
         crypt(content, text, text, head) && crypt(content, data, text + head, data_length) &&
         crypt(content, tail, tail, body - head - data_length) && authenticate(packet, body, text + body);
}

bool ChaChaPoly::do_open(uint8_t* packet, size_t body) {
  uint8_t tag[kTag];
  uint8_t* const text = packet + kLengthField;
  EVP_CIPHER_CTX* const content = content_.get();
  return direction_ == Direction::kOpen && authenticate(packet, body, tag) &&
         CRYPTO_memcmp(tag, text + body, kTag) == 0 && start(content, 1) && crypt(content, text, text, body);
}

}  // namespace netproxy::ssh
