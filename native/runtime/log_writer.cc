#include "runtime/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "runtime/clock.h"

namespace strata::runtime {
namespace {

constexpr std::size_t kHeaderBytes = 16;
// No writer makes a larger record, and readers take what says so for the end.
constexpr std::uint32_t kMostPayloadBytes = 16U << 20;

// The record at the start of `bytes`, which holds a header at least; 0 where there is none.
std::uint64_t record_size(const char* bytes) {
  std::uint32_t payload = 0;
  std::memcpy(&payload, bytes, sizeof payload);
  const bool known = bytes[4] == static_cast<char>(LogChannel::kStdout) || bytes[4] == static_cast<char>(LogChannel::kStderr);
  return known && payload <= kMostPayloadBytes ? kHeaderBytes + payload : 0;
}

// Where the last whole record ends. A crash of the host can leave less than a record behind it, or the zeros of a block that was never written.
// What cannot be read is left as it is: `size`.
std::uint64_t end_of_records(int file, std::uint64_t size) {
  if (size < kHeaderBytes) {
    return 0;  // the usual case, a new log, needs no window
  }
  std::vector<char> window(256 * 1024);
  std::uint64_t end = 0;
  while (end + kHeaderBytes <= size) {
    const ssize_t count = ::pread(file, window.data(), window.size(), static_cast<off_t>(end));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    const std::uint64_t from = end;
    const std::uint64_t got = count < 0 ? 0 : static_cast<std::uint64_t>(count);
    if (got < kHeaderBytes) {
      return size;
    }
    while (end - from + kHeaderBytes <= got) {
      const std::uint64_t record = record_size(window.data() + (end - from));
      if (record == 0 || record > size - end) {
        return end;
      }
      end += record;
    }
  }
  return end;
}

}  // namespace

Outcome<LogWriter> LogWriter::open(const std::string& path) {
  LogWriter log;
  log.file_.reset(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat status {};
  if (!log.file_ || ::fstat(log.file_.get(), &status) < 0) {
    return refuse_errno(errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kInternal, "open the log '" + path + "'", "", path);
  }
  if (!S_ISREG(status.st_mode)) {
    return refuse(ErrorCode::kInvalidRequest, "the log '" + path + "' is no regular file", 0, "", path);
  }
  // Behind a torn record nothing could be read.
  const auto size = static_cast<std::uint64_t>(status.st_size);
  log.size_ = end_of_records(log.file_.get(), size);
  if (log.size_ < size && ::ftruncate(log.file_.get(), static_cast<off_t>(log.size_)) < 0) {
    return refuse_errno(ErrorCode::kInternal, "cut the torn end of the log '" + path + "'", "", path);
  }
  return log;
}

void LogWriter::write(LogChannel channel, std::string_view payload) {
  std::array<char, 16> header{};
  const auto length = static_cast<std::uint32_t>(payload.size());
  const std::uint64_t now = nanoseconds_now();
  std::memcpy(header.data(), &length, sizeof length);
  header[4] = static_cast<char>(channel);
  std::memcpy(header.data() + 8, &now, sizeof now);
  std::array<iovec, 2> parts = {{{header.data(), header.size()}, {const_cast<char*>(payload.data()), payload.size()}}};
  const std::uint64_t record = header.size() + payload.size();
  ssize_t written = 0;
  do {
    written = ::writev(file_.get(), parts.data(), parts.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(record)) {
    size_ += record;
    return;
  }
  lost_ += payload.size();
  if (written > 0 && ::ftruncate(file_.get(), static_cast<off_t>(size_)) < 0) {
    // The torn record stays: readers ignore it at the end, and nothing may be written behind it.
    file_.reset();
  }
}

void LogWriter::sync() const {
  if (file_) {
    ::fdatasync(file_.get());
  }
}

}  // namespace strata::runtime
