// The container's log file: records of u32 payload bytes, u8 channel, u8[3] zero, u64 nanoseconds, payload (docs/supervisor.md).
// Invariant: the file ends at a record's end. What does not fit on the disk is dropped and counted, so that the container never blocks on a full disk.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/failure.h"
#include "core/unique_fd.h"

namespace strata::runtime {

enum class LogChannel : std::uint8_t { kStdout = 1, kStderr = 2 };

class LogWriter {
 public:
  static Outcome<LogWriter> open(const std::string& path);
  LogWriter() = default;

  void write(LogChannel channel, std::string_view payload);
  [[nodiscard]] std::uint64_t size_bytes() const { return size_; }
  [[nodiscard]] std::uint64_t lost_bytes() const { return lost_; }
  void sync() const;

 private:
  UniqueFd file_;
  std::uint64_t size_ = 0, lost_ = 0;
};

}  // namespace strata::runtime
