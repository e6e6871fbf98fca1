// Writes tar (ustar, with pax headers where ustar's fields do not hold a value). The same entries give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "tar_entry.h"
#include "tar_sink.h"

namespace strata {

class TarWriter {
 public:
  // `sink` is borrowed.
  explicit TarWriter(TarSink& sink) : sink_(sink) {}

  // A member's headers. Exactly entry.size_bytes of data() must follow for a file, of a sparse one (GNU's pax format 1.0) what its pieces hold together;
  // none for the others.
  [[nodiscard]] Status begin(const TarEntry& entry);
  [[nodiscard]] Status data(std::span<const uint8_t> bytes);
  // The same without a copy: at least one byte of room for data, of which the first `count` are then there.
  [[nodiscard]] Result<std::span<uint8_t>> room();
  [[nodiscard]] Status added(size_t count);
  // Pads the member.
  [[nodiscard]] Status end();
  // The end-of-archive blocks; flushes.
  [[nodiscard]] Status finish();
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] Status append(const void* bytes, size_t count);
  [[nodiscard]] Status flush();

  TarSink& sink_;
  std::span<uint8_t> block_;  // of the sink; empty: none taken
  size_t used_ = 0;           // of block_
  uint64_t bytes_ = 0;
};

}  // namespace strata
