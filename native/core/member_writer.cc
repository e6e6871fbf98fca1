#include "member_writer.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "file_holes.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr size_t kMostXattrBytes = 64 * 1024;  // of all names, of a value: the kernel's limits
constexpr size_t kScannedBytes = 256 * 1024;
constexpr size_t kReadAtOnce = 64 * 1024;   // of a file of unknown size
constexpr size_t kMostLinked = size_t{1} << 20;  // more files with several names are written out again: memory is bounded, and nothing is lost

void take_status(const struct stat& status, TarEntry& member) {
  member.mode = status.st_mode & 07777;
  member.uid = status.st_uid;
  member.gid = status.st_gid;
  member.mtime_sec = status.st_mtim.tv_sec;
  member.mtime_nsec = static_cast<uint32_t>(status.st_mtim.tv_nsec);
}

// What belongs to a file wherever it lies. All else is of this host (labels, keyed hashes) or of its file system (btrfs.*, XFS's copies of the ACLs).
bool is_portable(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kSystem{"security.capability", "security.ima", "system.posix_acl_access", "system.posix_acl_default"};
  return name.starts_with("user.") || (name.starts_with("trusted.") && !name.starts_with("trusted.SGI_ACL_")) || std::ranges::find(kSystem, name) != kSystem.end();
}

std::string proc_path(int node) { return "/proc/self/fd/" + std::to_string(node); }

}  // namespace

Status MemberWriter::go_on() const {
  if (rules_.cancelled != nullptr && rules_.cancelled->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "pack 'directory'");
  }
  return {};
}

Status MemberWriter::write_empty(const TarEntry& member) {
  ++entries_;
  return writer_.begin(member);
}

// NUL-ended names; valid until the next call.
Result<std::string_view> MemberWriter::list_xattrs(const std::string& path, const TarEntry& member) {
  for (;;) {
    const ssize_t length = ::listxattr(path.c_str(), names_.data(), names_.size());
    if (length >= 0) {
      return std::string_view(names_).substr(0, static_cast<size_t>(length));
    }
    if (errno == ERANGE && names_.size() < kMostXattrBytes) {
      names_.resize(kMostXattrBytes);
      continue;
    }
    if (errno == ENOTSUP || errno == EPERM) {
      return std::string_view();
    }
    return fail_errno("listxattr '" + member.name + "'");
  }
}

// What apply_layer stored escaped goes back to its own name; overlay's own attributes are of this host.
Status MemberWriter::take_layer_xattr(const std::string& name, std::string value, TarEntry& member, Marks& marks) const {
  if (name.starts_with("trusted.overlay.overlay.")) {
    member.xattrs.emplace_back("trusted.overlay." + name.substr(24), std::move(value));
  } else if (name.starts_with("user.overlay.overlay.")) {
    member.xattrs.emplace_back("user.overlay." + name.substr(21), std::move(value));
  } else if (name == "trusted.overlay.metacopy" || name == "trusted.overlay.redirect") {
    return fail(EPROTONOSUPPORT, "pack '" + member.name + "'",
                name + " says that its content lies elsewhere in a layer below: the overlay was mounted with redirect_dir or metacopy, which layers cannot hold");
  } else if (name == "trusted.overlay.opaque") {
    marks.opaque = value == "y";
  } else if (name == "trusted.overlay.whiteout") {
    marks.whiteout = true;
  } else if (!name.starts_with("trusted.overlay.") && is_portable(name)) {
    member.xattrs.emplace_back(name, std::move(value));
  }
  return {};
}

Result<MemberWriter::Marks> MemberWriter::read_xattrs(int node, TarEntry& member) {
  Marks marks;
  // With its own link resolved by the kernel, getxattr (not l) on a magic link reaches the node itself, were it a symbolic link or a device.
  const std::string path = proc_path(node);
  const std::string_view names = TRY(list_xattrs(path, member));
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.data() + at;
    at += name.size() + 1;
    ssize_t got = ::getxattr(path.c_str(), name.c_str(), value_.data(), value_.size());
    if (got < 0 && errno == ERANGE && value_.size() < kMostXattrBytes) {
      value_.resize(kMostXattrBytes);
      got = ::getxattr(path.c_str(), name.c_str(), value_.data(), value_.size());
    }
    if (got < 0 || name == "security.selinux") {
      continue;  // removed meanwhile
    }
    std::string value = value_.substr(0, static_cast<size_t>(got));
    if (rules_.layer) {
      TRY(take_layer_xattr(name, std::move(value), member, marks));
    } else {
      member.xattrs.emplace_back(name, std::move(value));
    }
  }
  // In one order, and of one name that was there both escaped and not, one.
  std::sort(member.xattrs.begin(), member.xattrs.end());
  const auto same_name = [](const auto& left, const auto& right) { return left.first == right.first; };
  member.xattrs.erase(std::unique(member.xattrs.begin(), member.xattrs.end(), same_name), member.xattrs.end());
  return marks;
}

Status MemberWriter::find_pieces(int file, TarEntry& member) {
  if (rules_.layer) {
    scanned_.resize(kScannedBytes);
    member.pieces = TRY(pieces_by_content(file, member.size_bytes, scanned_, rules_.cancelled));
  } else {
    member.pieces = TRY(pieces_as_stored(file, member.size_bytes, rules_.cancelled));
  }
  member.sparse = !member.pieces.empty();
  return {};
}

Status MemberWriter::write_piece(int file, const TarSparsePiece& piece, const TarEntry& member) {
  if (piece.length > rules_.max_bytes || file_bytes_ > rules_.max_bytes - piece.length) {
    return fail(E2BIG, "read '" + member.name + "'", "the files of the directory have more than " + std::to_string(rules_.max_bytes) + " bytes");
  }
  file_bytes_ += piece.length;
  uint64_t done = 0;
  while (done < piece.length) {
    TRY(go_on());
    const std::span<uint8_t> room = TRY(writer_.room());
    const auto most = static_cast<size_t>(std::min<uint64_t>(room.size(), piece.length - done));
    ssize_t got = ::pread(file, room.data(), most, static_cast<off_t>(piece.offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return fail_errno("read '" + member.name + "'");
    }
    if (got == 0) {
      if (!rules_.changes) {
        return fail(EIO, "read '" + member.name + "'", "the file became shorter while it was read");
      }
      std::fill_n(room.begin(), most, uint8_t{0});
      got = static_cast<ssize_t>(most);
    }
    TRY(writer_.added(static_cast<size_t>(got)));
    done += static_cast<uint64_t>(got);
  }
  return {};
}

Status MemberWriter::write_file(int node, TarEntry& member) {
  if (member.size_bytes > rules_.max_size_bytes || size_bytes_ > rules_.max_size_bytes - member.size_bytes) {
    return fail(E2BIG, "read '" + member.name + "'", "the files of the directory, with their holes, have more than " + std::to_string(rules_.max_size_bytes) + " bytes");
  }
  size_bytes_ += member.size_bytes;
  const UniqueFd fd(::open(proc_path(node).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    return fail_errno("open '" + member.name + "'");
  }
  TRY(find_pieces(fd.get(), member));
  TRY(writer_.begin(member));
  if (!member.sparse) {
    TRY(write_piece(fd.get(), {0, member.size_bytes}, member));
  }
  for (const TarSparsePiece& piece : member.pieces) {
    TRY(write_piece(fd.get(), piece, member));
  }
  ++entries_;
  return writer_.end();
}

Status MemberWriter::write_generated(int node, const struct stat& status, const std::string& name, size_t most) {
  const UniqueFd fd(::open(proc_path(node).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    return fail_errno("open '" + name + "'");
  }
  std::vector<uint8_t> content;
  for (ssize_t got = 1; got != 0;) {
    TRY(go_on());
    const size_t before = content.size();
    content.resize(before + kReadAtOnce);
    got = ::read(fd.get(), content.data() + before, kReadAtOnce);
    if (got < 0 && errno != EINTR) {
      return fail_errno("read '" + name + "'");
    }
    content.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (content.size() > most) {
      return fail(E2BIG, "read '" + name + "'", "the kernel makes it as it is read, and it has more than " + std::to_string(most) + " bytes");
    }
  }
  TarEntry member;
  member.name = name;
  take_status(status, member);
  member.size_bytes = content.size();
  TRY(writer_.begin(member));
  TRY(writer_.data(content));
  ++entries_;
  return writer_.end();
}

Result<MemberWriter::Written> MemberWriter::write(int node, const struct stat& status, const std::string& name) {
  TRY(go_on());
  if (S_ISSOCK(status.st_mode)) {
    return Written::kLeftOut;
  }
  TarEntry member;
  member.name = name;
  take_status(status, member);
  if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
    const std::pair key(status.st_dev, status.st_ino);
    if (const auto first = linked_.find(key); first != linked_.end()) {
      member.type = TarType::kHardLink;
      member.link_name = first->second;
      TRY(write_empty(member));
      return Written::kWhole;
    }
  }
  const Marks marks = TRY(read_xattrs(node, member));
  if (S_ISREG(status.st_mode) && status.st_size == 0 && marks.whiteout) {
    return Written::kWhiteout;
  }
  if (!S_ISDIR(status.st_mode) && status.st_nlink > 1 && linked_.size() < kMostLinked) {
    linked_.emplace(std::pair(status.st_dev, status.st_ino), name);
  }
  if (S_ISLNK(status.st_mode)) {
    member.type = TarType::kSymlink;
    member.link_name.resize(4096);
    const ssize_t length = ::readlinkat(node, "", member.link_name.data(), member.link_name.size());
    if (length < 0) {
      return fail_errno("readlink '" + name + "'");
    }
    member.link_name.resize(static_cast<size_t>(length));
    TRY(write_empty(member));
    return Written::kWhole;
  }
  if (S_ISDIR(status.st_mode)) {
    member.type = TarType::kDirectory;
    member.name += '/';
    TRY(write_empty(member));
    return marks.opaque ? Written::kOpaque : Written::kWhole;
  }
  if (S_ISREG(status.st_mode)) {
    member.size_bytes = static_cast<uint64_t>(status.st_size);
    TRY(write_file(node, member));
    return Written::kWhole;
  }
  member.type = S_ISFIFO(status.st_mode) ? TarType::kFifo : S_ISCHR(status.st_mode) ? TarType::kCharDevice : TarType::kBlockDevice;
  member.device_major = S_ISFIFO(status.st_mode) ? 0 : major(status.st_rdev);
  member.device_minor = S_ISFIFO(status.st_mode) ? 0 : minor(status.st_rdev);
  TRY(write_empty(member));
  return Written::kWhole;
}

}  // namespace strata
