#include "ssh/cipher.h"

#include <stdexcept>

#include "ssh/chacha.h"
#include "ssh/gcm.h"

namespace netproxy::ssh {

std::unique_ptr<PacketCipher> PacketCipher::make(Direction direction, const Keys& keys) {
  const bool chacha = keys.key_length == ChaChaPoly::kKey;
  if (!chacha && keys.key_length != 16 && keys.key_length != 32) {
    throw std::runtime_error("key must be 16, 32 or 64 bytes");
  }
  const size_t iv_length = chacha ? 0 : Gcm::kIv;
  if (keys.iv_length != iv_length) {
    throw std::runtime_error(chacha ? "iv must be empty" : "iv must be 12 bytes");
  }
  if (chacha) return std::make_unique<ChaChaPoly>(direction, keys.key, keys.sequence);
  return std::make_unique<Gcm>(direction, keys.key, keys.key_length, keys.iv, keys.sequence);
}

}  // namespace netproxy::ssh
