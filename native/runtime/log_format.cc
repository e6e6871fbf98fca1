#include "runtime/log_format.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace strata::runtime {
namespace {

// No writer makes a larger record, and readers take what says so for the end.
constexpr std::uint32_t kMostPayloadBytes = 16U << 20;
constexpr std::size_t kWindowBytes = 256 * 1024;
constexpr std::size_t kNameDigits = 20;

struct RecordHead {
  LogChannel channel;
  std::uint64_t payload, time_ns;
};

// `bytes` hold a header at least.
std::optional<RecordHead> parse_head(const char* bytes) {
  std::uint32_t payload = 0;
  RecordHead head{};
  std::memcpy(&payload, bytes, sizeof payload);
  std::memcpy(&head.time_ns, bytes + 8, sizeof head.time_ns);
  const auto channel = static_cast<unsigned char>(bytes[4]);
  const bool is_segment = channel == static_cast<unsigned char>(LogChannel::kSegment);
  // All zeros are a block that was never written.
  if (channel > static_cast<unsigned char>(LogChannel::kLost) || payload > kMostPayloadBytes || (is_segment && payload != kSegmentStartBytes)) {
    return std::nullopt;
  }
  head.channel = static_cast<LogChannel>(channel);
  head.payload = payload;
  return head;
}

SegmentStart decode_segment_start(const char* bytes) {
  SegmentStart start;
  std::memcpy(start.before.data(), bytes, 16);
  std::memcpy(&start.earliest_ns, bytes + 16, 8);
  std::memcpy(&start.latest_ns, bytes + 24, 8);
  start.continues = {(bytes[32] & 1) != 0, (bytes[32] & 2) != 0};
  return start;
}

// All of `size` that there is; fewer at the end of the file, nothing on an error.
std::size_t read_at(int file, char* buffer, std::size_t size, std::uint64_t offset) {
  std::size_t got = 0;
  while (got < size) {
    const ssize_t count = ::pread(file, buffer + got, size - got, static_cast<off_t>(offset + got));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return 0;
    }
    if (count == 0) {
      break;
    }
    got += static_cast<std::size_t>(count);
  }
  return got;
}

void note_output(SegmentContent& content, const RecordHead& head, bool ends_line) {
  const std::size_t index = head.channel == LogChannel::kStderr ? 1 : 0;
  content.written[index] += head.payload;
  content.at_line_start[index] = ends_line;
  content.earliest_ns = content.earliest_ns == 0 ? head.time_ns : std::min(content.earliest_ns, head.time_ns);
  content.latest_ns = std::max(content.latest_ns, head.time_ns);
}

}  // namespace

std::array<char, kLogHeaderBytes> log_record_header(LogChannel channel, std::size_t payload_bytes, std::uint64_t time_ns) {
  std::array<char, kLogHeaderBytes> header{};
  const auto length = static_cast<std::uint32_t>(payload_bytes);
  std::memcpy(header.data(), &length, sizeof length);
  header[4] = static_cast<char>(channel);
  std::memcpy(header.data() + 8, &time_ns, sizeof time_ns);
  return header;
}

std::array<char, kSegmentStartBytes> encode_segment_start(const SegmentStart& start) {
  std::array<char, kSegmentStartBytes> bytes{};
  std::memcpy(bytes.data(), start.before.data(), 16);
  std::memcpy(bytes.data() + 16, &start.earliest_ns, 8);
  std::memcpy(bytes.data() + 24, &start.latest_ns, 8);
  bytes[32] = static_cast<char>((start.continues[0] ? 1 : 0) | (start.continues[1] ? 2 : 0));
  return bytes;
}

std::string segment_path(const std::string& path, std::uint64_t before, bool is_first) {
  if (is_first) {
    return path;
  }
  std::array<char, kNameDigits + 1> digits{};
  static_cast<void>(std::snprintf(digits.data(), digits.size(), "%020llu", static_cast<unsigned long long>(before)));
  return path + "." + digits.data();
}

std::optional<std::uint64_t> segment_of_name(std::string_view log_name, std::string_view name) {
  if (name == log_name) {
    return 0;
  }
  if (name.size() != log_name.size() + 1 + kNameDigits || !name.starts_with(log_name) || name[log_name.size()] != '.') {
    return std::nullopt;
  }
  std::uint64_t before = 0;
  for (const char digit : name.substr(log_name.size() + 1)) {
    if (digit < '0' || digit > '9') {
      return std::nullopt;
    }
    before = before * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return before;
}

SegmentContent read_segment(int file, std::uint64_t size, bool is_first) {
  SegmentContent content;
  if (size < kLogHeaderBytes) {
    return content;  // the usual case, a new log, needs no window
  }
  std::vector<char> window(kWindowBytes);
  std::uint64_t from = 0;
  std::size_t got = 0;
  bool has_start = is_first;
  while (content.end + kLogHeaderBytes <= size) {
    if (content.end + kLogHeaderBytes > from + got) {
      from = content.end;
      got = read_at(file, window.data(), window.size(), from);
      if (got < kLogHeaderBytes) {
        content.end = size;
        return content;
      }
    }
    const char* bytes = window.data() + (content.end - from);
    const std::optional<RecordHead> head = parse_head(bytes);
    const std::uint64_t end = content.end + kLogHeaderBytes + (head ? head->payload : 0);
    if (!head || end > size || has_start == (head->channel == LogChannel::kSegment)) {
      break;
    }
    if (head->channel == LogChannel::kSegment) {
      content.start = decode_segment_start(bytes + kLogHeaderBytes);
      content.at_line_start = {!content.start.continues[0], !content.start.continues[1]};
      has_start = true;
    } else if (head->channel != LogChannel::kLost && head->payload > 0) {
      char last = '\0';
      if (end <= from + got) {
        last = window[end - 1 - from];
      } else {
        static_cast<void>(read_at(file, &last, 1, end - 1));
      }
      note_output(content, *head, last == '\n');
    }
    content.end = end;
  }
  return content;
}

}  // namespace strata::runtime
