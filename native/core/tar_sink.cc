#include "tar_sink.h"

#include <unistd.h>

#include <string>

namespace strata {

Status write_all(int fd, std::span<const uint8_t> bytes, const char* what, const std::atomic<bool>* cancelled) {
  while (!bytes.empty()) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      return fail(ECANCELED, "write '" + std::string(what) + "'");
    }
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return fail_errno("write '" + std::string(what) + "'");
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace strata
