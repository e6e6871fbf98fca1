#include "layer_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "overlay_marks.h"

namespace strata {

namespace {

constexpr size_t kBatch = 4096;

int open_piece(int directory, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  int fd = 0;
  do {
    fd = static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how));
  } while (fd < 0 && (errno == EAGAIN || errno == EINTR));
  return fd;
}

std::string at_name(int directory, const char* name) { return "/proc/self/fd/" + std::to_string(directory) + "/" + name; }

bool has_attribute_at(int directory, const char* name, const char* attribute) { return ::lgetxattr(at_name(directory, name).c_str(), attribute, nullptr, 0) >= 0; }

// Overlay makes a metacopy as a hole of the file's size (fs/overlayfs/copy_up.c); there may be a block of attributes.
bool may_be_metacopy(const struct statx& status) { return status.stx_size > 0 && status.stx_blocks <= 16 && status.stx_blocks * 512 < status.stx_size; }

IndexedKind kind_of(int directory, const char* name, const struct statx& status) {
  switch (status.stx_mode & S_IFMT) {
    case S_IFDIR:
      return IndexedKind::kDirectory;
    case S_IFLNK:
      return IndexedKind::kSymlink;
    case S_IFCHR:
      return status.stx_rdev_major == 0 && status.stx_rdev_minor == 0 ? IndexedKind::kWhiteout : IndexedKind::kOther;
    case S_IFREG:
      return status.stx_size == 0 && has_attribute_at(directory, name, "trusted.overlay.whiteout") ? IndexedKind::kWhiteout : IndexedKind::kFile;
    default:
      return IndexedKind::kOther;
  }
}

int64_t nanoseconds(const struct statx_timestamp& time) {
  constexpr int64_t kMost = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp(int64_t{time.tv_sec}, -kMost, kMost) * 1'000'000'000 + static_cast<int64_t>(time.tv_nsec);
}

// False: it is gone.
Result<bool> scan_entry(int directory, const char* name, ScannedNames& names) {
  struct statx status;
  constexpr unsigned kWanted = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_MTIME | STATX_INO | STATX_SIZE | STATX_BLOCKS;
  if (::statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, kWanted, &status) != 0) {
    if (errno == ENOENT) {
      return false;
    }
    return fail_errno(std::string("stat '") + name + "'");
  }
  ScannedEntry scanned{};
  IndexedEntry& entry = scanned.entry;
  entry.kind = kind_of(directory, name, status);
  entry.size = entry.kind == IndexedKind::kFile ? status.stx_size : 0;
  entry.mtime_ns = nanoseconds(status.stx_mtime);
  entry.uid = status.stx_uid;
  entry.gid = status.stx_gid;
  entry.mode = status.stx_mode & 07777;
  const size_t length = std::strlen(name);
  scanned.name = static_cast<uint32_t>(names.texts.size());
  scanned.name_length = static_cast<uint8_t>(length);
  names.texts.append(name, length);
  if (entry.kind == IndexedKind::kFile) {
    scanned.inode = status.stx_nlink > 1 ? status.stx_ino : 0;
    entry.flags = may_be_metacopy(status) && has_attribute_at(directory, name, "trusted.overlay.metacopy") ? kMetacopy : 0;
  } else if (entry.kind == IndexedKind::kSymlink) {
    std::array<char, 4096> target;
    const ssize_t got = ::readlinkat(directory, name, target.data(), target.size());
    scanned.target = static_cast<uint32_t>(names.texts.size());
    entry.size = got < 0 ? 0 : static_cast<uint64_t>(got);
    names.texts.append(target.data(), entry.size);
  }
  names.entries.push_back(scanned);
  return true;
}

}  // namespace

Result<UniqueFd> open_below(int root, std::string_view path, int flags) {
  constexpr size_t kMostAtOnce = 4000;  // PATH_MAX, with room
  UniqueFd current;
  while (path.size() > kMostAtOnce) {
    const size_t slash = path.rfind('/', kMostAtOnce);
    UniqueFd next(open_piece(current ? current.get() : root, std::string(path.substr(0, slash)), O_PATH | O_DIRECTORY));
    if (!next) {
      return fail_errno("open '" + std::string(path) + "'");
    }
    current = std::move(next);
    path.remove_prefix(slash + 1);
  }
  const std::string last = path.empty() ? "." : std::string(path);
  const int parent = current ? current.get() : root;
  UniqueFd fd(open_piece(parent, last, flags | O_NOATIME));
  if (!fd && errno == EPERM) {
    fd = UniqueFd(open_piece(parent, last, flags));  // in a user namespace that the owner is not part of
  }
  if (!fd) {
    return fail_errno("open '" + last + "'");
  }
  return fd;
}

uint8_t directory_marks(int directory) {
  // Most directories have no attributes at all, which one call tells.
  std::array<char, 4096> names;
  const ssize_t length = ::flistxattr(directory, names.data(), names.size());
  if (length == 0 || (length < 0 && errno != ERANGE)) {
    return 0;
  }
  const bool is_redirected = has_node_attribute(directory, "trusted.overlay.redirect");
  return static_cast<uint8_t>((is_opaque(directory) ? kOpaque : 0) | (is_redirected ? kRedirected : 0));
}

Status scan_directory(int directory, std::vector<char>& buffer, ScannedNames& names, const std::function<Status(const ScannedNames&)>& take) {
  buffer.resize(size_t{64} << 10);
  names.entries.clear();
  names.texts.clear();
  for (;;) {
    const ssize_t got = ::getdents64(directory, buffer.data(), buffer.size());
    if (got < 0 && errno == ENOENT) {
      break;  // removed while it was read
    }
    if (got < 0) {
      return fail_errno("read 'directory'");
    }
    if (got == 0) {
      break;
    }
    for (size_t at = 0; at < static_cast<size_t>(got);) {
      const auto* item = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += item->d_reclen;
      const std::string_view name = item->d_name;
      if (name != "." && name != "..") {
        static_cast<void>(TRY(scan_entry(directory, item->d_name, names)));
      }
    }
    if (names.entries.size() >= kBatch) {
      TRY(take(names));
      names.entries.clear();
      names.texts.clear();
    }
  }
  return take(names);
}

}  // namespace strata
