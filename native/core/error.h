// Errors of the native core: what failed, the kernel's reason, and a hint for people.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <utility>

namespace strata {

// `what` is lower case: verb + 'object' ("open '/x'"). Callers add context in front; the errno never changes on the way up.
struct Error {
  int errno_value = 0;
  std::string what;
  std::string hint;

  // "verb 'object': reason (hint)": what a log line shows.
  [[nodiscard]] std::string message() const {
    std::string text = what;
    if (errno_value != 0) {
      text += ": ";
      text += std::strerror(errno_value);
    }
    if (!hint.empty()) {
      text += " (" + hint + ")";
    }
    return text;
  }

  [[nodiscard]] Error within(const std::string& context) && {
    what = context + ": " + what;
    return std::move(*this);
  }
};

template <typename T>
using Result = std::expected<T, Error>;

using Status = Result<void>;

[[nodiscard]] inline std::unexpected<Error> fail(int errno_value, std::string what, std::string hint = {}) {
  return std::unexpected(Error{errno_value, std::move(what), std::move(hint)});
}

// For the line right after a failed system call: takes errno as it stands.
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string what, std::string hint = {}) {
  const int errno_value = errno;
  return fail(errno_value, std::move(what), std::move(hint));
}

}  // namespace strata

// Evaluates a Result, returns its error from the enclosing function, else yields its value (GNU statement expression:
// both compilers that build Strata have it, and it keeps a call and its check on one line).
#define TRY(expression)                                         \
  ({                                                            \
    auto try_result_ = (expression);                            \
    if (!try_result_) {                                         \
      return std::unexpected(std::move(try_result_).error());   \
    }                                                           \
    std::move(try_result_).value();                             \
  })
