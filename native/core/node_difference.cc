#include "node_difference.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "overlay_marks.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr size_t kBlock = 128 << 10;
constexpr size_t kMostValue = 64 << 10;  // XATTR_SIZE_MAX, XATTR_LIST_MAX

// A magic link of /proc reaches the node itself, were it a symbolic link or a device.
std::string proc_path(int node) { return "/proc/self/fd/" + std::to_string(node); }

bool is_of_overlay_or_host(const char* name) {
  constexpr const char* kLabels[] = {"security.selinux", "security.apparmor", "security.ima", "security.evm"};
  return std::strncmp(name, "trusted.overlay.", 16) == 0 || std::ranges::any_of(kLabels, [&](const char* label) { return std::strcmp(label, name) == 0; });
}

std::map<std::string, std::string> attributes_of(int node) {
  const std::string path = proc_path(node);
  std::map<std::string, std::string> found;
  const ssize_t needed = ::listxattr(path.c_str(), nullptr, 0);
  if (needed <= 0) {
    return found;
  }
  std::string names(kMostValue, '\0');
  const ssize_t length = ::listxattr(path.c_str(), names.data(), names.size());
  std::string value(kMostValue, '\0');
  for (size_t at = 0; length > 0 && at < static_cast<size_t>(length);) {
    const char* name = names.data() + at;
    at += std::strlen(name) + 1;
    if (is_of_overlay_or_host(name)) {
      continue;
    }
    const ssize_t got = ::getxattr(path.c_str(), name, value.data(), value.size());
    if (got >= 0) {  // else it was removed meanwhile
      found.emplace(name, value.substr(0, static_cast<size_t>(got)));
    }
  }
  return found;
}

std::string target_of(int link) {
  std::string target(4096, '\0');
  const ssize_t length = ::readlinkat(link, "", target.data(), target.size());
  target.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return target;
}

// Where the next bytes that are stored begin.
uint64_t next_data(int file, uint64_t at, uint64_t size) {
  const off_t data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
  if (data >= 0) {
    return static_cast<uint64_t>(data);
  }
  return errno == ENXIO ? size : at;
}

// As many as there are, up to `size`.
Result<size_t> read_block(int file, uint8_t* into, size_t size, uint64_t at) {
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(file, into + done, size - done, static_cast<off_t>(at + done));
    if (count < 0 && errno != EINTR) {
      return fail_errno("read 'file'");
    }
    if (count == 0) {
      break;
    }
    done += count < 0 ? 0 : static_cast<size_t>(count);
  }
  return done;
}

Result<bool> same_bytes(int one, int other, uint64_t size, const std::atomic<bool>* cancelled) {
  const size_t block = static_cast<size_t>(std::min<uint64_t>(size, kBlock));
  const auto memory = std::make_unique_for_overwrite<uint8_t[]>(2 * block);
  for (uint64_t at = 0; at < size;) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      return fail(ECANCELED, "compare 'files'");
    }
    if (size > kBlock) {
      at = std::min(next_data(one, at, size), next_data(other, at, size));
    }
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(size - at, block));
    const size_t left = TRY(read_block(one, memory.get(), wanted, at));
    const size_t right = TRY(read_block(other, memory.get() + block, wanted, at));
    if (left != right || std::memcmp(memory.get(), memory.get() + block, left) != 0) {
      return false;
    }
    if (left < wanted) {  // both were cut off meanwhile
      return true;
    }
    at += wanted;
  }
  return true;
}

Result<bool> same_content(const NodeView& upper, const NodeView& lower, const std::atomic<bool>* cancelled) {
  switch (upper.status.st_mode & S_IFMT) {
    case S_IFREG: {
      if (upper.status.st_size != lower.status.st_size || upper.status.st_size == 0) {
        return upper.status.st_size == lower.status.st_size;
      }
      // Overlay gives it the size of what it left below.
      if (has_node_attribute(upper.node, "trusted.overlay.metacopy")) {
        return true;
      }
      const UniqueFd one(::open(proc_path(upper.node).c_str(), O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC));
      const UniqueFd other(::open(proc_path(lower.node).c_str(), O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC));
      if (!one || !other) {
        return fail_errno("open 'file'");
      }
      return same_bytes(one.get(), other.get(), static_cast<uint64_t>(upper.status.st_size), cancelled);
    }
    case S_IFLNK:
      return target_of(upper.node) == target_of(lower.node);
    case S_IFCHR:
    case S_IFBLK:
      return upper.status.st_rdev == lower.status.st_rdev;
    default:
      return true;
  }
}

}  // namespace

Result<NodeDifferences> node_differences(const NodeView& upper, const NodeView& lower, const std::atomic<bool>* cancelled) {
  const struct stat& one = upper.status;
  const struct stat& other = lower.status;
  NodeDifferences found;
  if (((one.st_mode ^ other.st_mode) & S_IFMT) != 0) {
    found.type = true;
    return found;
  }
  found.content = !TRY(same_content(upper, lower, cancelled));
  found.mode = ((one.st_mode ^ other.st_mode) & 07777) != 0;
  found.owner = one.st_uid != other.st_uid || one.st_gid != other.st_gid;
  found.attributes = attributes_of(upper.node) != attributes_of(lower.node);
  found.mtime = !S_ISDIR(one.st_mode) && (one.st_mtim.tv_sec != other.st_mtim.tv_sec || one.st_mtim.tv_nsec != other.st_mtim.tv_nsec);
  return found;
}

}  // namespace strata
