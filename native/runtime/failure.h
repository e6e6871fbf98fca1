// What goes wrong in the runtime, with the code that the control protocol carries (docs/supervisor.md).
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "core/error.h"

namespace strata::runtime {

enum class ErrorCode {
  kCommandNotFound,
  kCommandNotExecutable,
  kWorkingDirectory,
  kUserNotFound,
  kMountFailed,
  kCgroupFailed,
  kLimitRejected,
  kNamespaceFailed,
  kSeccompFailed,
  kKernelFeatureMissing,
  kNoSpace,
  kInvalidState,
  kInvalidRequest,
  kNoSuchSession,
  kTooManySessions,
  kInternal,
};

const char* code_name(ErrorCode code);

struct Failure {
  ErrorCode code = ErrorCode::kInternal;
  Error error;
  std::string path;
  std::string rendered;  // the Error object as another stage wrote it; wins over the rest

  Failure(ErrorCode failure_code, Error cause, std::string object = {}) : code(failure_code), error(std::move(cause)), path(std::move(object)) {}
  // So that TRY lifts an error of the core: what nobody classified is INTERNAL.
  Failure(Error cause) : error(std::move(cause)) {}  // NOLINT(google-explicit-constructor)
};

// Around a system call whose failure changes nothing that could be done about it.
inline void best_effort(long) {}

template <typename T>
using Outcome = std::expected<T, Failure>;
using Done = Outcome<void>;

[[nodiscard]] inline std::unexpected<Failure> refuse(ErrorCode code, std::string what, int errno_value = 0, std::string hint = {}, std::string path = {}) {
  return std::unexpected(Failure(code, Error{errno_value, std::move(what), std::move(hint)}, std::move(path)));
}
// For the line right after a failed system call.
[[nodiscard]] inline std::unexpected<Failure> refuse_errno(ErrorCode code, std::string what, std::string hint = {}, std::string path = {}) {
  const int errno_value = errno;
  return refuse(code, std::move(what), errno_value, std::move(hint), std::move(path));
}

// Gives an error of the core the code of what was being done. A full disk is always said as such: it is what a person has to act on.
template <typename T>
[[nodiscard]] Outcome<T> classify(Result<T> result, ErrorCode code, const std::string& context = {}, std::string path = {}) {
  if (result) {
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return std::move(*result);
    }
  }
  Error error = std::move(result).error();
  if (!context.empty()) {
    error = std::move(error).within(context);
  }
  const ErrorCode said = error.errno_value == ENOSPC || error.errno_value == EDQUOT ? ErrorCode::kNoSpace : code;
  return std::unexpected(Failure(said, std::move(error), std::move(path)));
}

// The `Error` object of the protocol.
std::string to_json(const Failure& failure);
// The status a shell would show for it: 127 command not found, 126 found but not started, -1 where the process never came that far.
int exit_code_of(ErrorCode code);

}  // namespace strata::runtime
