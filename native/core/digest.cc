#include "digest.h"

// The one-shot contexts of OpenSSL 3 (EVP) pull in its provider machinery, 3 MB of it; these functions are the same code (SHA-NI, AVX2, ARMv8) in 60 KB.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <array>

namespace strata {

struct Sha256::State {
  SHA256_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { ::SHA256_Init(&state_->context); }

Sha256::~Sha256() = default;

void Sha256::update(std::span<const uint8_t> bytes) { ::SHA256_Update(&state_->context, bytes.data(), bytes.size()); }

std::string Sha256::finish() {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> hash{};
  ::SHA256_Final(hash.data(), &state_->context);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text = "sha256:";
  for (const uint8_t byte : hash) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace strata
