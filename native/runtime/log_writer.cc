#include "runtime/log_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "runtime/clock.h"

namespace strata::runtime {
namespace {

constexpr std::uint64_t kMostSlackBytes = 1U << 20;
constexpr std::uint64_t kRotateAgainNs = 1'000'000'000;
constexpr std::size_t kSegmentRecordBytes = kLogHeaderBytes + kSegmentStartBytes;
constexpr int kOpenFlags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

std::size_t index_of(LogChannel channel) { return channel == LogChannel::kStderr ? 1 : 0; }

template <std::size_t N>
bool write_whole(int file, std::array<iovec, N>& parts, std::size_t count, bool& torn) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) {
    size += parts[i].iov_len;
  }
  ssize_t written = 0;
  do {
    written = ::writev(file, parts.data(), static_cast<int>(count));
  } while (written < 0 && errno == EINTR);
  torn = written > 0 && written != static_cast<ssize_t>(size);
  return written == static_cast<ssize_t>(size);
}

template <std::size_t N>
iovec part_of(std::array<char, N>& bytes) {
  return {bytes.data(), bytes.size()};
}

}  // namespace

Outcome<LogWriter> LogWriter::open(const std::string& path, LogLimits limits) {
  LogWriter log;
  log.path_ = path;
  log.limits_ = limits;
  TRY(log.find_segments());
  TRY(log.open_newest());
  log.opened_at_ = log.segments_.back().before;
  log.spare_.reset(::fcntl(log.file_.get(), F_DUPFD_CLOEXEC, 3));
  return log;
}

Done LogWriter::find_segments() {
  const std::size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  const std::string name = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
  if (!entries) {
    return refuse_errno(ErrorCode::kInternal, "open the directory of the log '" + path_ + "'", "", path_);
  }
  errno = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (const auto before = segment_of_name(name, entry->d_name)) {
      struct stat status {};
      const bool known = ::fstatat(::dirfd(entries.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0;
      segments_.push_back({*before, name == entry->d_name, known ? static_cast<std::uint64_t>(status.st_size) : 0});
    }
    errno = 0;
  }
  if (errno != 0) {
    return refuse_errno(ErrorCode::kInternal, "read the directory of the log '" + path_ + "'", "", path_);
  }
  std::sort(segments_.begin(), segments_.end(), [](const Segment& a, const Segment& b) { return a.before != b.before ? a.before < b.before : a.is_first && !b.is_first; });
  return {};
}

Done LogWriter::open_newest() {
  for (;;) {
    if (segments_.empty()) {
      segments_.push_back({});
    }
    Segment& newest = segments_.back();
    const std::string path = segment_path(path_, newest.before, newest.is_first);
    file_.reset(::open(path.c_str(), kOpenFlags, 0600));
    struct stat status {};
    if (!file_ || ::fstat(file_.get(), &status) < 0) {
      return refuse_errno(errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kInternal, "open the log '" + path + "'", "", path);
    }
    if (!S_ISREG(status.st_mode)) {
      return refuse(ErrorCode::kInvalidRequest, "the log '" + path + "' is no regular file", 0, "", path);
    }
    newest.size = static_cast<std::uint64_t>(status.st_size);
    const SegmentContent content = read_segment(file_.get(), newest.size, newest.is_first);
    if (content.end == 0 && !newest.is_first) {
      // Its writer was killed before it had said what it is: nobody can read it, and the one before was the newest.
      if (::unlink(path.c_str()) < 0) {
        return refuse_errno(ErrorCode::kInternal, "remove the unfinished segment '" + path + "'", "", path);
      }
      segments_.pop_back();
      continue;
    }
    // Behind a torn record nothing could be read.
    if (content.end < newest.size && ::ftruncate(file_.get(), static_cast<off_t>(content.end)) < 0) {
      return refuse_errno(ErrorCode::kInternal, "cut the torn end of the log '" + path + "'", "", path);
    }
    newest.size = content.end;
    written_ = {content.start.before[0] + content.written[0], content.start.before[1] + content.written[1]};
    at_line_start_ = content.at_line_start;
    earliest_ns_ = content.earliest_ns;
    latest_ns_ = content.latest_ns;
    return {};
  }
}

void LogWriter::write(LogChannel channel, std::string_view payload) {
  while (!payload.empty()) {
    const std::size_t part = may_rotate() ? share(channel, payload) : payload.size();
    if (part > 0) {
      append(channel, payload.substr(0, part));
      payload.remove_prefix(part);
    }
    if (!payload.empty() && !rotate()) {
      append(channel, payload);
      return;
    }
  }
}

std::uint64_t LogWriter::slack() const { return std::min(limits_.most_bytes, kMostSlackBytes); }

std::uint64_t LogWriter::kept_bytes() const {
  std::uint64_t sum = 0;
  for (const Segment& segment : segments_) {
    sum += segment.size;
  }
  return sum;
}

bool LogWriter::may_rotate() const { return limits_.most_bytes > 0 && !segments_.empty() && (retry_at_ns_ == 0 || monotonic_nanoseconds() >= retry_at_ns_); }

// How much of it goes to the newest segment; where that is not all, another one begins behind it.
std::size_t LogWriter::share(LogChannel channel, std::string_view payload) const {
  const Segment& newest = segments_.back();
  const std::uint64_t used = newest.size + kLogHeaderBytes;
  if (used + payload.size() <= limits_.most_bytes) {
    return payload.size();
  }
  const auto room = static_cast<std::size_t>(limits_.most_bytes > used ? limits_.most_bytes - used : 0);
  const std::uint64_t end = limits_.most_bytes + slack();
  const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(end > used ? end - used : 0, payload.size()));
  const std::size_t index = index_of(channel);
  if (at_line_start_[1 - index]) {
    const std::size_t last = room == 0 ? std::string_view::npos : payload.rfind('\n', room - 1);
    if (last != std::string_view::npos) {
      return last + 1;
    }
    const bool is_empty = newest.size <= (newest.is_first ? 0 : kSegmentRecordBytes);
    if (at_line_start_[index] && !is_empty) {
      return 0;
    }
    if (const std::size_t next = payload.find('\n', room); next < most) {
      return next + 1;
    }
  }
  return most;
}

bool LogWriter::rotate() {
  const std::uint64_t now = nanoseconds_now();
  const Segment next{written_bytes(), false, kSegmentRecordBytes};
  const SegmentStart start{written_, earliest_ns_, latest_ns_, {!at_line_start_[0], !at_line_start_[1]}};
  spare_.reset();
  UniqueFd made = make_segment(next, start, now);
  const bool is_full = !made && (errno == ENOSPC || errno == EDQUOT);
  if (is_full && segments_.size() > 1 && segments_.size() >= limits_.most_files) {
    // This rotation would remove it anyway: it makes the room itself.
    remove_oldest();
    made = make_segment(next, start, now);
  }
  if (made) {
    file_ = std::move(made);
    segments_.push_back(next);
    earliest_ns_ = latest_ns_ = 0;
    retry_at_ns_ = 0;
    while (segments_.size() > limits_.most_files) {
      remove_oldest();
    }
  } else {
    retry_at_ns_ = monotonic_nanoseconds() + kRotateAgainNs;
  }
  spare_.reset(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 3));
  return retry_at_ns_ == 0;
}

// Whole or not at all; errno says why not.
UniqueFd LogWriter::make_segment(const Segment& segment, const SegmentStart& start, std::uint64_t now) {
  const std::string path = segment_path(path_, segment.before, segment.is_first);
  UniqueFd file(::open(path.c_str(), kOpenFlags | O_EXCL, 0600));
  if (!file) {
    return file;
  }
  auto header = log_record_header(LogChannel::kSegment, kSegmentStartBytes, now);
  auto content = encode_segment_start(start);
  std::array<iovec, 2> parts = {part_of(header), part_of(content)};
  bool torn = false;
  if (!write_whole(file.get(), parts, parts.size(), torn)) {
    const int why = torn ? ENOSPC : errno;
    ::unlink(path.c_str());
    file.reset();
    errno = why;
  }
  return file;
}

void LogWriter::remove_oldest() {
  const Segment& oldest = segments_.front();
  ::unlink(segment_path(path_, oldest.before, oldest.is_first).c_str());
  segments_.erase(segments_.begin());
}

void LogWriter::append(LogChannel channel, std::string_view payload) {
  const std::uint64_t now = nanoseconds_now();
  const std::uint64_t untold = lost_ - told_lost_;
  auto lost_header = log_record_header(LogChannel::kLost, sizeof untold, now);
  auto header = log_record_header(channel, payload.size(), now);
  std::array<iovec, 4> parts{};
  std::size_t count = 0;
  if (untold > 0) {
    parts[count++] = part_of(lost_header);
    parts[count++] = {const_cast<std::uint64_t*>(&untold), sizeof untold};
  }
  parts[count++] = part_of(header);
  parts[count++] = {const_cast<char*>(payload.data()), payload.size()};
  const std::uint64_t size = (untold > 0 ? lost_header.size() + sizeof untold : 0) + header.size() + payload.size();
  // Where no other segment could be made, the newest one may grow until the log as a whole is as large as it may be.
  const bool is_too_much = retry_at_ns_ != 0 && kept_bytes() + size > (limits_.most_bytes + slack()) * std::max<std::uint64_t>(limits_.most_files, segments_.size());
  bool torn = false;
  if (file_ && !is_too_much && write_whole(file_.get(), parts, count, torn)) {
    segments_.back().size += size;
    told_lost_ = lost_;
    written_[index_of(channel)] += payload.size();
    at_line_start_[index_of(channel)] = payload.back() == '\n';
    earliest_ns_ = earliest_ns_ == 0 ? now : std::min(earliest_ns_, now);
    latest_ns_ = std::max(latest_ns_, now);
    return;
  }
  lost_ += payload.size();
  if (torn && ::ftruncate(file_.get(), static_cast<off_t>(segments_.back().size)) < 0) {
    // The torn record stays: readers ignore it at the end, and nothing may be written behind it.
    file_.reset();
  }
}

void LogWriter::sync() const {
  if (!file_) {
    return;
  }
  for (const Segment& segment : segments_) {
    if (segment.before >= opened_at_ && &segment != &segments_.back()) {
      const UniqueFd earlier(::open(segment_path(path_, segment.before, segment.is_first).c_str(), O_RDONLY | O_CLOEXEC));
      best_effort(earlier ? ::fdatasync(earlier.get()) : 0);
    }
  }
  ::fdatasync(file_.get());
}

}  // namespace strata::runtime
