// How the container ended, as a file and on the wire.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/failure.h"

namespace strata::runtime {

// A signal that a client had sent to the container's init.
struct RequestedSignal {
  int number = 0;
  std::uint64_t at = 0;  // nanoseconds since the epoch
  std::string note;      // the client's own words
};

struct ExitRecord {
  std::string id;
  std::optional<int> code, signal;
  std::uint64_t oom_kills = 0;
  std::optional<std::uint64_t> memory_peak_bytes;
  std::uint64_t started_at = 0, finished_at = 0;  // nanoseconds since the epoch; started_at 0: never started
  std::string error_json;                         // an Error object, or empty
  bool tells_requests = false;                    // of wire version 2
  std::optional<RequestedSignal> requested;       // the last one
  std::uint64_t lost_log_bytes = 0;               // named only where the disk was full

  // From the status of wait(2).
  void set_status(int wait_status);
  [[nodiscard]] std::string to_json() const;
};

// Writes `text` to `path` atomically (temporary file and rename in the same directory), fsyncing both where `durable`.
Done replace_file(const std::string& path, const std::string& text, bool durable);

}  // namespace strata::runtime
