// Writes tar (ustar, with pax headers where ustar's fields do not hold a value). The same entries give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "tar_reader.h"

namespace strata {

class TarWriter {
 public:
  // `fd` is borrowed.
  explicit TarWriter(int fd) : fd_(fd) { buffer_.reserve(kBufferBytes); }

  // A member's headers. Exactly entry.size_bytes of data() must follow for a file, of a sparse one (GNU's pax format 1.0) what its pieces hold together;
  // none for the others.
  [[nodiscard]] Status begin(const TarEntry& entry);
  [[nodiscard]] Status data(std::span<const uint8_t> bytes);
  // Pads the member.
  [[nodiscard]] Status end();
  // The end-of-archive blocks; flushes.
  [[nodiscard]] Status finish();
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kBufferBytes = 256 * 1024;

  [[nodiscard]] Status append(const void* bytes, size_t count);
  [[nodiscard]] Status flush();

  int fd_;
  std::vector<uint8_t> buffer_;
  uint64_t bytes_ = 0;
};

}  // namespace strata
