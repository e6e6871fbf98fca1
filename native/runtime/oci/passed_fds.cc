#include "runtime/oci/passed_fds.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace strata::runtime::oci {
namespace {

constexpr unsigned kMostFds = 65536;

std::optional<unsigned> number_in(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

bool is_open(unsigned index) { return ::fcntl(static_cast<int>(3 + index), F_GETFD) >= 0; }

bool all_open(unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    if (!is_open(i)) {
      return false;
    }
  }
  return true;
}

}  // namespace

unsigned count_listen_fds(const char* listen_fds, const char* listen_pid, pid_t own_pid) {
  if (listen_fds == nullptr || (listen_pid != nullptr && number_in(listen_pid) != static_cast<unsigned>(own_pid))) {
    return 0;
  }
  const unsigned count = number_in(listen_fds).value_or(0);
  return count <= kMostFds ? count : 0;
}

Outcome<PassedFds> passed_fds(const Options& options) {
  PassedFds passed;
  passed.listen = count_listen_fds(std::getenv("LISTEN_FDS"), std::getenv("LISTEN_PID"), ::getpid());
  const std::string text = options.value("preserve-fds");
  const std::optional<unsigned> preserved = text.empty() ? 0 : number_in(text);
  if (!preserved || *preserved > kMostFds) {
    return refuse(ErrorCode::kInvalidRequest, "--preserve-fds must be a number, not '" + text + "'");
  }
  if (std::getenv("LISTEN_PID") == nullptr && !all_open(passed.listen)) {
    passed.listen = 0;  // it was meant for somebody else
  }
  passed.all = passed.listen + *preserved;
  for (unsigned i = 0; i < passed.all; ++i) {
    if (!is_open(i)) {
      const char* const which = i < passed.listen ? "LISTEN_FDS" : "--preserve-fds";
      return refuse(ErrorCode::kInvalidRequest, std::string("please check ") + which + ": descriptor " + std::to_string(3 + i) + " is not open");
    }
  }
  return passed;
}

}  // namespace strata::runtime::oci
