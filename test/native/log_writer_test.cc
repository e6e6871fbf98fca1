#include "runtime/log_writer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

using namespace strata;
using namespace strata::runtime;

namespace {

class TemporaryDirectory {
 public:
  TemporaryDirectory() { REQUIRE(::mkdtemp(path_) != nullptr); }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string log() const { return std::string(path_) + "/log"; }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/strata-log-XXXXXX";
};

struct ReadSegment {
  std::string name;
  std::uint64_t before = 0, size = 0;
  bool is_torn = false;
  SegmentStart start;
  std::array<std::string, 2> text;
  std::uint64_t lost = 0;
};

ReadSegment read_file(const std::filesystem::path& path, std::uint64_t before) {
  ReadSegment segment{path.filename(), before, std::filesystem::file_size(path), false, {}, {}, 0};
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::size_t at = 0;
  while (at + kLogHeaderBytes <= bytes.size()) {
    std::uint32_t length = 0;
    std::memcpy(&length, bytes.data() + at, 4);
    const std::string payload = bytes.substr(at + kLogHeaderBytes, length);
    const int channel = bytes[at + 4];
    if (payload.size() < length) {
      break;
    }
    if (channel == 0) {
      CHECK(at == 0);
      std::memcpy(segment.start.before.data(), payload.data(), 16);
      std::memcpy(&segment.start.earliest_ns, payload.data() + 16, 8);
      std::memcpy(&segment.start.latest_ns, payload.data() + 24, 8);
      segment.start.continues = {(payload[32] & 1) != 0, (payload[32] & 2) != 0};
    } else if (channel == 3) {
      std::uint64_t lost = 0;
      std::memcpy(&lost, payload.data(), 8);
      segment.lost += lost;
    } else {
      segment.text[channel == 2 ? 1 : 0] += payload;
    }
    at += kLogHeaderBytes + length;
  }
  segment.is_torn = at != bytes.size();
  return segment;
}

// Oldest first.
std::vector<ReadSegment> read_log(const std::string& directory) {
  std::vector<ReadSegment> segments;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (const auto before = segment_of_name("log", entry.path().filename().string())) {
      segments.push_back(read_file(entry.path(), *before));
    }
  }
  std::sort(segments.begin(), segments.end(), [](const ReadSegment& a, const ReadSegment& b) { return a.before < b.before; });
  return segments;
}

std::string stdout_of(const std::vector<ReadSegment>& segments) {
  std::string all;
  for (const ReadSegment& segment : segments) {
    all += segment.text[0];
  }
  return all;
}

std::string numbered(int number) { return "line " + std::to_string(number) + "\n"; }

// The lines are numbered one after the other; the first and the last of them. Nothing else is in it.
std::pair<int, int> numbers_in(const std::string& text) {
  std::pair<int, int> ends{-1, -1};
  std::size_t at = 0;
  while (at < text.size()) {
    const int number = std::atoi(text.c_str() + at + 5);
    const std::string line = numbered(number);
    REQUIRE(text.compare(at, line.size(), line) == 0);
    if (ends.first < 0) {
      ends.first = number;
    } else {
      REQUIRE(number == ends.second + 1);
    }
    ends.second = number;
    at += line.size();
  }
  return ends;
}

constexpr LogLimits kSmall{4096, 3};

}  // namespace

TEST_CASE("log records, and a log that cannot be written") {
  const TemporaryDirectory directory;
  auto log = LogWriter::open(directory.log());
  REQUIRE(log);
  log->write(LogChannel::kStderr, "hello");
  CHECK(log->written_bytes() == 5);
  std::ifstream file(directory.log(), std::ios::binary);
  const std::string record((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  REQUIRE(record.size() == 21);
  std::uint32_t length = 0;
  std::memcpy(&length, record.data(), 4);
  CHECK(length == 5);
  CHECK(record[4] == 2);
  CHECK(record.substr(16) == "hello");
  CHECK_FALSE(LogWriter::open("/dev/null"));
  CHECK_FALSE(LogWriter::open(directory.path() + "/absent/log"));
  LogWriter closed;
  closed.write(LogChannel::kStdout, "lost");
  CHECK(closed.lost_bytes() == 4);
  CHECK(closed.written_bytes() == 0);
}

TEST_CASE("a log whose last record was torn by a crash goes on behind its last whole one") {
  const TemporaryDirectory directory;
  {
    auto log = LogWriter::open(directory.log());
    REQUIRE(log);
    log->write(LogChannel::kStdout, std::string(300'000, 'x'));  // more than is read at once
    log->write(LogChannel::kStderr, "two");
  }
  const std::uint64_t whole = 300'016 + 19;
  std::string tail;
  SUBCASE("in its header") { tail = std::string("\x05\0\0\0\x01", 5); }
  SUBCASE("in its payload") { tail = std::string("\x05\0\0\0\x01\0\0\0", 8) + "01234567" + "hell"; }
  SUBCASE("by zeros that were never written") { tail = std::string(4096, '\0'); }
  SUBCASE("by a length that no record has") { tail = std::string(64, '\xff'); }
  SUBCASE("not at all") {}
  std::ofstream(directory.log(), std::ios::binary | std::ios::app) << tail;
  auto log = LogWriter::open(directory.log());
  REQUIRE(log);
  CHECK(log->written_bytes() == 300'003);
  CHECK(std::filesystem::file_size(directory.log()) == whole);
  log->write(LogChannel::kStdout, "three");
  const auto segments = read_log(directory.path());
  REQUIRE(segments.size() == 1);
  CHECK(segments[0].text[0].substr(300'000) == "three");
  CHECK(segments[0].text[1] == "two");
}

TEST_CASE("a log is rotated at lines' ends, and its oldest segments go") {
  const TemporaryDirectory directory;
  auto log = LogWriter::open(directory.log(), kSmall);
  REQUIRE(log);
  // Written in pieces that know nothing of lines.
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += numbered(i);
  }
  for (std::size_t at = 0, size = 1; at < text.size(); at += size, size = size * 7 % 6007) {
    log->write(LogChannel::kStdout, std::string_view(text).substr(at, size));
  }
  const auto segments = read_log(directory.path());
  REQUIRE(segments.size() == 3);
  CHECK(numbers_in(stdout_of(segments)).second == 4999);
  for (const ReadSegment& segment : segments) {
    CHECK(segment.size <= kSmall.most_bytes);
    CHECK(segment.start.before[0] == segment.before);
    CHECK(segment.start.latest_ns >= segment.start.earliest_ns);
    CHECK(segment.start.earliest_ns > 0);
    CHECK_FALSE(segment.start.continues[0]);
    numbers_in(segment.text[0]);
  }
  CHECK(segments[0].size > kSmall.most_bytes - 512);
  CHECK(segments[2].before + segments[2].text[0].size() == text.size());
  CHECK(log->written_bytes() == text.size());
}

TEST_CASE("lines of both streams are whole, and one that is too long goes on in the next segment and says so") {
  const TemporaryDirectory directory;
  auto log = LogWriter::open(directory.log(), {4096, 100});
  REQUIRE(log);
  SUBCASE("a line that is begun while the other stream goes on") {
    for (int i = 0; i < 300; ++i) {
      log->write(LogChannel::kStderr, "begun, ");
      log->write(LogChannel::kStdout, std::string(i % 90, 'o') + "\n");
      log->write(LogChannel::kStderr, std::string(i % 50, 'e') + "ended\n");
    }
    const auto segments = read_log(directory.path());
    CHECK(segments.size() > 4);
    for (const ReadSegment& segment : segments) {
      CHECK(segment.size <= 2 * 4096);
      CHECK(segment.text[0].ends_with('\n'));
      CHECK(segment.text[1].ends_with("ended\n"));
      CHECK(segment.text[1].starts_with("begun, "));
    }
  }
  SUBCASE("a line that would fit into one, but not into this one") {
    log->write(LogChannel::kStdout, std::string(3000, 'a') + "\n");
    log->write(LogChannel::kStdout, std::string(3000, 'b') + "\n");
    const auto segments = read_log(directory.path());
    REQUIRE(segments.size() == 2);
    CHECK(segments[1].text[0] == std::string(3000, 'b') + "\n");
  }
  SUBCASE("a line without an end") {
    for (int i = 0; i < 100; ++i) {
      log->write(LogChannel::kStdout, std::string(1000, 'x'));
    }
    const auto segments = read_log(directory.path());
    REQUIRE(segments.size() > 10);
    CHECK(stdout_of(segments) == std::string(100'000, 'x'));
    CHECK_FALSE(segments[0].start.continues[0]);
    CHECK(segments[1].start.continues[0]);
    CHECK_FALSE(segments[1].start.continues[1]);
    for (const ReadSegment& segment : segments) {
      CHECK(segment.size <= 2 * 4096);
    }
  }
  SUBCASE("one write that is larger than several segments") {
    log->write(LogChannel::kStdout, std::string(30'000, 'x') + "\n" + std::string(30'000, 'y'));
    CHECK(stdout_of(read_log(directory.path())) == std::string(30'000, 'x') + "\n" + std::string(30'000, 'y'));
  }
}

TEST_CASE("another writer goes on where the one before ended, whatever it left") {
  const TemporaryDirectory directory;
  int written = 0;
  const auto write = [&](int count) {
    auto log = LogWriter::open(directory.log(), kSmall);
    REQUIRE(log);
    for (int i = 0; i < count; ++i) {
      log->write(LogChannel::kStdout, numbered(written++));
    }
    return log->written_bytes();
  };
  const std::uint64_t bytes = write(700);
  const auto before = read_log(directory.path());
  REQUIRE(before.size() == 3);
  const std::string next = segment_path(directory.log(), bytes, false);
  SUBCASE("nothing") {}
  SUBCASE("an empty segment") { std::ofstream(next).flush(); }
  SUBCASE("a segment without all of its beginning") { std::ofstream(next) << std::string("\x28\0\0\0\0\0\0\0", 8) << "01234567" << "01234"; }
  SUBCASE("a segment of zeros") { std::ofstream(next) << std::string(4096, '\0'); }
  SUBCASE("files of others") { std::ofstream(directory.log() + ".1") << "x"; }
  write(700);
  const auto after = read_log(directory.path());
  CHECK(after.size() == 3);
  CHECK(numbers_in(stdout_of(after)).second == 1399);
  for (const ReadSegment& segment : after) {
    CHECK(segment.before == segment.start.total());
  }
}

TEST_CASE("a log of one file that grew without a bound is the first segment") {
  const TemporaryDirectory directory;
  {
    auto old = LogWriter::open(directory.log());
    REQUIRE(old);
    for (int i = 0; i < 5000; ++i) {
      old->write(LogChannel::kStdout, numbered(i));
    }
  }
  auto log = LogWriter::open(directory.log(), kSmall);
  REQUIRE(log);
  log->write(LogChannel::kStdout, numbered(5000));
  auto segments = read_log(directory.path());
  REQUIRE(segments.size() == 2);
  CHECK(segments[0].name == "log");
  CHECK(segments[1].text[0] == numbered(5000));
  CHECK(numbers_in(stdout_of(segments)) == std::pair(0, 5000));
  for (int i = 5001; i < 6000; ++i) {
    log->write(LogChannel::kStdout, numbered(i));
  }
  CHECK_FALSE(std::filesystem::exists(directory.log()));
}

TEST_CASE("where no other segment can be made the newest grows, up to what the whole log may have") {
  const TemporaryDirectory directory;
  auto log = LogWriter::open(directory.log(), kSmall);
  REQUIRE(log);
  // What a descriptor limit, a full or a broken disk do: the next segment cannot be made.
  const auto block = [&] { std::filesystem::create_directory(segment_path(directory.log(), log->written_bytes(), false)); };
  int number = 0;
  while (log->written_bytes() < 3300) {
    log->write(LogChannel::kStdout, numbered(number++));
    block();
  }
  for (int i = 0; i < 3000; ++i) {
    log->write(LogChannel::kStdout, numbered(number++));
  }
  std::uint64_t size = std::filesystem::file_size(directory.log());
  CHECK(size > kSmall.most_bytes);
  CHECK(size <= 3 * 2 * kSmall.most_bytes);
  CHECK(log->lost_bytes() > 0);
}

TEST_CASE("a writer that may open no more files still rotates") {
  const TemporaryDirectory directory;
  auto log = LogWriter::open(directory.log(), kSmall);
  REQUIRE(log);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  std::vector<UniqueFd> all;
  const rlimit few{64, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (UniqueFd fd(::open("/dev/null", O_RDONLY)); fd; fd.reset(::open("/dev/null", O_RDONLY))) {
    all.push_back(std::move(fd));
  }
  for (int i = 0; i < 2000; ++i) {
    log->write(LogChannel::kStdout, numbered(i));
  }
  all.clear();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(log->lost_bytes() == 0);
  const auto segments = read_log(directory.path());
  CHECK(segments.size() == 3);
  CHECK(numbers_in(stdout_of(segments)).second == 1999);
}

TEST_CASE("a full disk: what was written stays, what comes is counted, and the log says so where it goes on") {
  if (::geteuid() != 0) {
    return;
  }
  const TemporaryDirectory directory;
  if (::mount("strata-log-test", directory.path().c_str(), "tmpfs", 0, "size=32k") < 0) {
    return;  // no right to mount here
  }
  {
    auto log = LogWriter::open(directory.log(), {8192, 3});
    REQUIRE(log);
    int number = 0;
    const auto write = [&](int count) {
      for (int i = 0; i < count; ++i) {
        log->write(LogChannel::kStdout, numbered(number++));
      }
    };
    const auto fill = [&] {
      std::ofstream filler(directory.path() + "/filler", std::ios::app);
      while (filler << std::string(4096, 'f') << std::flush) {
      }
    };
    SUBCASE("before the log has all of its segments") {
      write(200);
      fill();
      write(1000);
      CHECK(log->lost_bytes() > 0);
      // Nothing was removed to make room.
      CHECK(stdout_of(read_log(directory.path())).starts_with(numbered(0)));
      std::filesystem::remove(directory.path() + "/filler");
      // It goes on at once, or when another segment is tried.
      std::uint64_t lost = 0;
      do {
        lost = log->lost_bytes();
        write(1);
      } while (log->lost_bytes() > lost);
      const auto segments = read_log(directory.path());
      CHECK(segments.back().text[0].ends_with(numbered(number - 1)));
      CHECK(segments.back().lost == log->lost_bytes());
    }
    SUBCASE("when a rotation removes a segment, it makes the room for the next one") {
      // Room for three segments and no more.
      std::ofstream(directory.path() + "/filler") << std::string(8192, 'f');
      write(3000);
      CHECK(log->lost_bytes() == 0);
      CHECK(read_log(directory.path()).size() >= 2);
      CHECK(stdout_of(read_log(directory.path())).ends_with(numbered(2999)));
    }
    for (const ReadSegment& segment : read_log(directory.path())) {
      CHECK_FALSE(segment.is_torn);
    }
  }
  CHECK(::umount(directory.path().c_str()) == 0);
}

TEST_CASE("a writer that is killed before any of its system calls leaves a log that can be read and gone on with") {
  // What is written takes two rotations; the second removes a segment.
  const LogLimits limits{4096, 2};
  const auto write_all = [&](const std::string& path) {
    auto log = LogWriter::open(path, limits);
    for (int i = 0; log && i < 40; ++i) {
      log->write(LogChannel::kStdout, numbered(2 * i));
      log->write(LogChannel::kStdout, numbered(2 * i + 1));
      log->write(LogChannel::kStderr, std::string(200, 'e') + "\n");
    }
  };
  bool was_killed = true;
  int kills = 0;
  for (int at = 1; was_killed; ++at) {
    const TemporaryDirectory directory;
    const std::string path = directory.log();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) < 0) {
        ::_exit(3);
      }
      ::raise(SIGSTOP);
      write_all(path);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
      MESSAGE("no ptrace here");
      return;
    }
    // Two stops a call: it is killed at one that is about to be made, or has just been made.
    was_killed = false;
    for (int stop = 0; WIFSTOPPED(status); ++stop) {
      if (stop == at) {
        was_killed = true;
        ::kill(child, SIGKILL);
      } else {
        ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
      }
      REQUIRE(::waitpid(child, &status, 0) == child);
    }
    kills += was_killed ? 1 : 0;
    int last = -1;
    {
      const auto segments = read_log(directory.path());
      CHECK(segments.size() <= limits.most_files + 1);
      const std::string text = stdout_of(segments);
      last = text.empty() ? -1 : numbers_in(text).second;
    }
    auto log = LogWriter::open(path, limits);
    REQUIRE(log);
    for (int i = 0; i < 400; ++i) {
      log->write(LogChannel::kStdout, numbered(last + 1 + i));
    }
    const auto segments = read_log(directory.path());
    CHECK(segments.size() <= limits.most_files);
    CHECK(numbers_in(stdout_of(segments)).second == last + 400);
    for (const ReadSegment& segment : segments) {
      CHECK_FALSE(segment.is_torn);
      CHECK((segment.name == "log" || segment.before == segment.start.total()));
    }
  }
  CHECK(kills > 100);
}

TEST_CASE("a writer that is killed at any moment leaves a log that can be read and gone on with") {
  const TemporaryDirectory directory;
  int last = -1;
  for (int round = 0; round < 60; ++round) {
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto log = LogWriter::open(directory.log(), {16'384, 4});
      if (::write(ready[1], "", 1) != 1) {
        ::_exit(2);
      }
      std::string chunk;
      for (int i = last + 1; log; ++i) {
        chunk += numbered(i);
        if (chunk.size() > 3000) {
          log->write(LogChannel::kStdout, chunk);
          chunk.clear();
        }
      }
      ::_exit(1);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::usleep(static_cast<useconds_t>(round * 137 % 4000));  // any moment will do
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    ::close(ready[0]);
    ::close(ready[1]);
    REQUIRE(LogWriter::open(directory.log(), {16'384, 4}));
    const std::string text = stdout_of(read_log(directory.path()));
    const int now = text.empty() ? last : numbers_in(text).second;
    CHECK(now >= last);
    last = now;
  }
  CHECK(last > 1000);
}
