#include "runtime/oci/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "core/unique_fd.h"

namespace strata::runtime::oci {

constexpr std::size_t kMostBytes = 16 << 20;

Outcome<std::string> read_to_end(int fd, const std::string& name) {
  std::string text;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return refuse_errno(ErrorCode::kInvalidRequest, "read '" + name + "'", "", name);
    }
    if (count == 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.size() > kMostBytes) {
      return refuse(ErrorCode::kInvalidRequest, "'" + name + "' is larger than 16 MiB", EFBIG, "", name);
    }
  }
}

Outcome<std::string> read_whole_file(int directory, const std::string& path) {
  const UniqueFd file(::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) {
    return refuse_errno(ErrorCode::kInvalidRequest, "open '" + path + "'", "", path);
  }
  return read_to_end(file.get(), path);
}

Done write_pid_file(const std::string& path, int pid) {
  const std::size_t slash = path.rfind('/');
  const std::string temporary = (slash == std::string::npos ? std::string() : path.substr(0, slash + 1)) + "." + path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string text = std::to_string(pid);
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::rename(temporary.c_str(), path.c_str()) < 0) {
    return refuse_errno(ErrorCode::kInternal, "write the pid file '" + path + "'", "", path);
  }
  return {};
}

Outcome<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (resolved == nullptr) {
    return refuse_errno(ErrorCode::kInvalidRequest, "find '" + path + "'", "", path);
  }
  return std::string(resolved.get());
}

}  // namespace strata::runtime::oci
