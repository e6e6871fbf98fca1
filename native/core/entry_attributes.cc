#include "entry_attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

namespace strata {

namespace {

// Of a file, after which the kernel is to begin with writing it to the disk: by itself it waits until gigabytes are dirty, and the sync at the end would find the disk idle so far.
constexpr uint64_t kWriteBackBytes = uint64_t{8} << 20;

constexpr const char* kNeedsXattrs = "the file system that the layer is unpacked to keeps no extended attributes: use ext4, xfs, btrfs or the like";

// On `fd`, or where it is -1 on the node at `path`, which is not followed.
Status set_xattrs(int fd, const std::string& path, const TarEntry& entry) {
  for (const auto& [key, value] : entry.xattrs) {
    // Overlay's own attributes in an archive would steer the host's mounts (redirects, metacopy). They are stored in the form that overlay shows
    // inside the container under the plain name and never obeys (Documentation/filesystems/overlayfs, "nesting").
    std::string name = key;
    for (const char* prefix : {"trusted.overlay.", "user.overlay."}) {
      if (key.starts_with(prefix)) {
        name = prefix + ("overlay." + key.substr(std::string_view(prefix).size()));
      }
    }
    const int failed = fd >= 0 ? ::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0)
                               : ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
    if (failed != 0) {
      // Attributes for people may be lost on a file system that has none; those that decide rights may not.
      const bool optional = key.starts_with("user.") || key.starts_with("security.selinux") || key.starts_with("system.");
      if (!optional || (errno != ENOTSUP && errno != EPERM && errno != EINVAL)) {
        const std::string hint = errno == ENOTSUP ? std::string("; ") + kNeedsXattrs : "";
        return fail_errno("setxattr '" + entry.name + "'", "attribute " + key + hint);
      }
    }
  }
  return {};
}

}  // namespace

Status set_opaque(int directory, const std::string& name) {
  if (::fsetxattr(directory, "trusted.overlay.opaque", "y", 1, 0) != 0) {
    return fail_errno("set opaque '" + name + "'", errno == ENOTSUP ? kNeedsXattrs : "");
  }
  return {};
}

// What is right already is left alone: each call is a transaction of the file system's. Owner before mode and attributes: chown(2) takes set-id bits and
// file capabilities away.
Status set_attributes(int fd, const TarEntry& entry) {
  struct stat status;
  if (::fstat(fd, &status) != 0) {
    return fail_errno("stat '" + entry.name + "'");
  }
  const bool owned = status.st_uid == entry.uid && status.st_gid == entry.gid;
  if (!owned && ::fchown(fd, entry.uid, entry.gid) != 0) {
    return fail_errno("chown '" + entry.name + "'");
  }
  if ((!owned || (status.st_mode & 07777) != entry.mode) && ::fchmod(fd, entry.mode) != 0) {
    return fail_errno("chmod '" + entry.name + "'");
  }
  TRY(set_xattrs(fd, "", entry));
  if (entry.type != TarType::kDirectory) {
    const timespec times[2] = {entry_time(entry), entry_time(entry)};
    if (::futimens(fd, times) != 0) {
      return fail_errno("utimens '" + entry.name + "'");
    }
  }
  return {};
}

Status set_attributes_at(int parent, const std::string& name, const TarEntry& entry) {
  struct stat status;
  if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("stat '" + entry.name + "'");
  }
  const bool owned = status.st_uid == entry.uid && status.st_gid == entry.gid;
  if (!owned && ::fchownat(parent, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("chown '" + entry.name + "'");
  }
  // No link is followed: the node was made a moment ago by this thread, and nobody else writes below the destination.
  const bool has_mode = entry.type == TarType::kSymlink || (owned && (status.st_mode & 07777) == entry.mode);
  if (!has_mode && ::fchmodat(parent, name.c_str(), entry.mode, 0) != 0) {
    return fail_errno("chmod '" + entry.name + "'");
  }
  if (!entry.xattrs.empty()) {
    // There is no setxattrat(2) before Linux 6.13, and a link or device node cannot be opened for fsetxattr(2).
    TRY(set_xattrs(-1, "/proc/self/fd/" + std::to_string(parent) + "/" + name, entry));
  }
  const timespec times[2] = {entry_time(entry), entry_time(entry)};
  if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("utimens '" + entry.name + "'");
  }
  return {};
}

Status write_data(int fd, const TarEntry& entry, TarReader& reader) {
  size_t piece_index = 0;
  uint64_t piece_done = 0;
  uint64_t offset = 0;
  uint64_t unsent = 0;
  for (;;) {
    size_t most = 256 * 1024;
    if (entry.sparse) {
      while (piece_index < entry.pieces.size() && piece_done == entry.pieces[piece_index].length) {
        ++piece_index;
        piece_done = 0;
      }
      if (piece_index < entry.pieces.size()) {
        const TarSparsePiece& piece = entry.pieces[piece_index];
        offset = piece.offset + piece_done;
        most = static_cast<size_t>(std::min<uint64_t>(most, piece.length - piece_done));
      }
    }
    const auto bytes = TRY(reader.data(most));
    if (bytes.empty()) {
      break;
    }
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t written = ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) {
          continue;
        }
        return fail_errno("write '" + entry.name + "'");
      }
      done += static_cast<size_t>(written);
      offset += static_cast<uint64_t>(written);
    }
    piece_done += bytes.size();
    unsent += bytes.size();
    if (unsent >= kWriteBackBytes) {
      // Begins, and waits for nothing: what goes wrong with it the sync at the end tells.
      ::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
      unsent = 0;
    }
  }
  if (entry.sparse && ::ftruncate(fd, static_cast<off_t>(entry.size_bytes)) != 0) {
    return fail_errno("truncate '" + entry.name + "'");
  }
  return {};
}

}  // namespace strata
