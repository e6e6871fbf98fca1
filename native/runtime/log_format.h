// What the files of a container's log hold (docs/logs.md, "On disk"), as bytes. Pure, but for finding out where a file's records end.
//
//   LOG                     the first segment
//   LOG.<20 digits>         a later one; the digits are how many bytes of output come before it
//
// A record: u32 payload bytes, u8 channel, u8[3] zero, u64 nanoseconds since the epoch, payload. Each later segment begins with a record of channel 0,
// SegmentStart; channel 3 says how much output was dropped here because the disk was full.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace strata::runtime {

enum class LogChannel : std::uint8_t { kSegment = 0, kStdout = 1, kStderr = 2, kLost = 3 };

constexpr std::size_t kLogHeaderBytes = 16;
constexpr std::size_t kSegmentStartBytes = 40;

// What is known where a segment begins. Index 0 is stdout, 1 is stderr.
struct SegmentStart {
  std::array<std::uint64_t, 2> before{};        // bytes of output in earlier segments, those that are gone too
  std::uint64_t earliest_ns = 0, latest_ns = 0;  // of the output in the segment just before; the clock may have been set back, so these are no ends
  std::array<bool, 2> continues{};              // the first bytes belong to a line that an earlier segment began

  [[nodiscard]] std::uint64_t total() const { return before[0] + before[1]; }
};

std::array<char, kLogHeaderBytes> log_record_header(LogChannel channel, std::size_t payload_bytes, std::uint64_t time_ns);
std::array<char, kSegmentStartBytes> encode_segment_start(const SegmentStart& start);

// The segment's file: `path` itself for the first one.
std::string segment_path(const std::string& path, std::uint64_t before, bool is_first);
// Of a name in the log's directory, how many bytes come before it; nothing where it is no segment. `log_name` itself is 0.
std::optional<std::uint64_t> segment_of_name(std::string_view log_name, std::string_view name);

// A segment as it was left by whoever wrote it.
struct SegmentContent {
  SegmentStart start;
  std::uint64_t end = 0;  // where the last whole record ends; 0 also where a later segment has no SegmentStart
  std::array<std::uint64_t, 2> written{};
  std::uint64_t earliest_ns = 0, latest_ns = 0;  // 0: no output
  std::array<bool, 2> at_line_start = {true, true};
};
// A crash of the host can leave less than a record at the end, or the zeros of a block that was never written. What cannot be read is left as it is: the
// content then ends where the file does.
SegmentContent read_segment(int file, std::uint64_t size, bool is_first);

}  // namespace strata::runtime
