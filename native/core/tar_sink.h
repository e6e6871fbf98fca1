// Where a tar goes, a block of bytes at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "error.h"

namespace strata {

// Invariant: room() and put() take turns.
class TarSink {
 public:
  virtual ~TarSink() = default;
  // Memory for the next bytes; the sink's own.
  [[nodiscard]] virtual Result<std::span<uint8_t>> room() = 0;
  // The first `size` bytes of it are written.
  [[nodiscard]] virtual Status put(size_t size) = 0;
};

// All of `bytes`, whatever it takes. ECANCELED between two writes. `what` names the file in errors.
[[nodiscard]] Status write_all(int fd, std::span<const uint8_t> bytes, const char* what, const std::atomic<bool>* cancelled = nullptr);

// Straight into a descriptor, which is borrowed.
class DescriptorSink final : public TarSink {
 public:
  explicit DescriptorSink(int fd) : fd_(fd), buffer_(256 * 1024) {}
  [[nodiscard]] Result<std::span<uint8_t>> room() override { return std::span<uint8_t>(buffer_); }
  [[nodiscard]] Status put(size_t size) override { return write_all(fd_, {buffer_.data(), size}, "archive"); }

 private:
  int fd_;
  std::vector<uint8_t> buffer_;
};

}  // namespace strata
