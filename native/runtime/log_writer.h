// The container's log: segments of records (log_format.h), of which the newest is written to and the oldest are removed.
//
// Invariants: each segment ends at a record's end; there are `most_files` at most, none larger than `most_bytes` and the rest of the line that was being
// written; a line is in one segment, unless the rest of it is longer than that (1 MiB, or `most_bytes` where that is less) or the other stream stays in the
// middle of a line for as much output; a segment is final when there is a later one; what does not fit on the disk is dropped and counted, so that the
// container never blocks on a full disk, and what was written is only ever removed by rotation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/unique_fd.h"
#include "runtime/failure.h"
#include "runtime/log_format.h"

namespace strata::runtime {

// most_bytes 0: one segment that grows for ever.
struct LogLimits {
  std::uint64_t most_bytes = 0, most_files = 1;
};

class LogWriter {
 public:
  // Goes on behind the last whole record of the newest segment.
  static Outcome<LogWriter> open(const std::string& path, LogLimits limits = {});
  LogWriter() = default;

  void write(LogChannel channel, std::string_view payload);
  // Bytes of output since the container was made, those of segments that are gone too.
  [[nodiscard]] std::uint64_t written_bytes() const { return written_[0] + written_[1]; }
  [[nodiscard]] std::uint64_t lost_bytes() const { return lost_; }
  // Everything that was written since open() and not removed.
  void sync() const;

 private:
  struct Segment {
    std::uint64_t before = 0;
    bool is_first = true;
    std::uint64_t size = 0;
  };

  Done find_segments();
  Done open_newest();
  [[nodiscard]] std::size_t share(LogChannel channel, std::string_view payload) const;
  [[nodiscard]] bool may_rotate() const;
  bool rotate();
  UniqueFd make_segment(const Segment& segment, const SegmentStart& start, std::uint64_t now);
  void remove_oldest();
  void append(LogChannel channel, std::string_view payload);
  [[nodiscard]] std::uint64_t slack() const;
  [[nodiscard]] std::uint64_t kept_bytes() const;

  std::string path_;
  LogLimits limits_;
  UniqueFd file_;
  UniqueFd spare_;                 // given up to open the next segment, where the process may open no more files
  std::vector<Segment> segments_;  // oldest first; the last is `file_`
  std::uint64_t opened_at_ = 0;    // written_bytes() then
  std::array<std::uint64_t, 2> written_{};
  std::array<bool, 2> at_line_start_ = {true, true};
  std::uint64_t earliest_ns_ = 0, latest_ns_ = 0;  // of the newest segment
  std::uint64_t retry_at_ns_ = 0;                  // of the monotonic clock, after a rotation that failed
  std::uint64_t lost_ = 0, told_lost_ = 0;
};

}  // namespace strata::runtime
