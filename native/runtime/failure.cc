#include "runtime/failure.h"

#include "runtime/json.h"

namespace strata::runtime {

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCommandNotFound: return "COMMAND_NOT_FOUND";
    case ErrorCode::kCommandNotExecutable: return "COMMAND_NOT_EXECUTABLE";
    case ErrorCode::kWorkingDirectory: return "WORKING_DIRECTORY";
    case ErrorCode::kUserNotFound: return "USER_NOT_FOUND";
    case ErrorCode::kMountFailed: return "MOUNT_FAILED";
    case ErrorCode::kCgroupFailed: return "CGROUP_FAILED";
    case ErrorCode::kLimitRejected: return "LIMIT_REJECTED";
    case ErrorCode::kNamespaceFailed: return "NAMESPACE_FAILED";
    case ErrorCode::kSeccompFailed: return "SECCOMP_FAILED";
    case ErrorCode::kKernelFeatureMissing: return "KERNEL_FEATURE_MISSING";
    case ErrorCode::kNoSpace: return "NO_SPACE";
    case ErrorCode::kInvalidState: return "INVALID_STATE";
    case ErrorCode::kInvalidRequest: return "INVALID_REQUEST";
    case ErrorCode::kNoSuchSession: return "NO_SUCH_SESSION";
    case ErrorCode::kTooManySessions: return "TOO_MANY_SESSIONS";
    case ErrorCode::kInternal: return "INTERNAL";
  }
  return "INTERNAL";
}

std::string to_json(const Failure& failure) {
  if (!failure.rendered.empty()) {
    return failure.rendered;
  }
  JsonWriter json;
  json.begin_object();
  json.field("code", code_name(failure.code));
  std::string message = failure.error.what;
  if (failure.error.errno_value != 0) {
    message += std::string(": ") + std::strerror(failure.error.errno_value);
  }
  json.field("message", message);
  if (failure.error.errno_value != 0) {
    json.field("errno", failure.error.errno_value);
  }
  if (!failure.path.empty()) {
    json.field("path", failure.path);
  }
  if (!failure.error.hint.empty()) {
    json.field("hint", failure.error.hint);
  }
  json.end_object();
  return json.take();
}

int exit_code_of(ErrorCode code) {
  if (code == ErrorCode::kCommandNotFound) {
    return 127;
  }
  if (code == ErrorCode::kCommandNotExecutable || code == ErrorCode::kWorkingDirectory || code == ErrorCode::kUserNotFound) {
    return 126;
  }
  return -1;
}

}  // namespace strata::runtime
