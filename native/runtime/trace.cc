#include "runtime/trace.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

#include "core/unique_fd.h"

namespace strata::runtime::trace {
namespace {

// Above what --preserve-fds counts from.
constexpr int kLowestFd = 200;
int trace_file = -1;
pid_t opener = 0;

}  // namespace

Done open(const std::string& file) {
  if (file.empty()) {
    return {};
  }
  const UniqueFd opened(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  trace_file = opened ? ::fcntl(opened.get(), F_DUPFD_CLOEXEC, kLowestFd) : -1;
  if (trace_file < 0) {
    return refuse_errno(ErrorCode::kInvalidRequest, "open the trace '" + file + "'", "", file);
  }
  opener = ::getpid();
  return {};
}

int fd() { return trace_file; }

void mark(const char* done) {
  if (trace_file < 0) {
    return;
  }
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  std::array<char, 17> process{};
  ::prctl(PR_GET_NAME, process.data(), 0, 0, 0);
  std::array<char, 512> line{};
  const int size = std::snprintf(line.data(), line.size(), "%lld.%06ld %s %d:%d %.400s\n", static_cast<long long>(now.tv_sec), now.tv_nsec / 1000, process.data(), opener, ::getpid(), done);
  best_effort(::write(trace_file, line.data(), static_cast<std::size_t>(size)));
}

void mark(const std::string& done) { mark(done.c_str()); }

}  // namespace strata::runtime::trace
