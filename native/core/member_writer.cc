#include "member_writer.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "unique_fd.h"

namespace strata {

namespace {

constexpr uint64_t kLeastHole = 64 * 1024;   // a smaller one is not worth its place in the map
constexpr size_t kMostPieces = 1 << 20;      // as the reader takes
constexpr size_t kMostLinked = size_t{1} << 20;  // more files with several names are written out again: memory is bounded, and nothing is lost

void take_status(const struct stat& status, TarEntry& member) {
  member.mode = status.st_mode & 07777;
  member.uid = status.st_uid;
  member.gid = status.st_gid;
  member.mtime_sec = status.st_mtim.tv_sec;
  member.mtime_nsec = static_cast<uint32_t>(status.st_mtim.tv_nsec);
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

Status MemberWriter::read_xattrs(int node, TarEntry& member, bool& opaque) {
  // With its own link resolved by the kernel, getxattr (not l) on a magic link reaches the node itself, were it a symbolic link or a device.
  const std::string path = proc_path(node);
  std::string names(65536, '\0');
  const ssize_t length = ::listxattr(path.c_str(), names.data(), names.size());
  if (length < 0) {
    return errno == ENOTSUP || errno == EPERM ? Status{} : Status(fail_errno("listxattr '" + member.name + "'"));
  }
  names.resize(static_cast<size_t>(length));
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(65536, '\0');
    const ssize_t got = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (got < 0 || name == "security.selinux") {
      continue;  // removed meanwhile
    }
    value.resize(static_cast<size_t>(got));
    if (!rules_.overlay_attributes) {
      member.xattrs.emplace_back(name, value);
      continue;
    }
    if (name == "trusted.overlay.opaque") {
      opaque = value == "y";
    }
    // What apply_layer stored escaped goes back to its own name; overlay's own attributes are of this host.
    if (name.starts_with("trusted.overlay.overlay.")) {
      member.xattrs.emplace_back("trusted.overlay." + name.substr(24), value);
    } else if (name.starts_with("user.overlay.overlay.")) {
      member.xattrs.emplace_back("user.overlay." + name.substr(21), value);
    } else if (!name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.")) {
      member.xattrs.emplace_back(name, value);
    }
  }
  std::sort(member.xattrs.begin(), member.xattrs.end());
  return {};
}

// Leaves a member without large holes, or on a file system that does not tell of them, as it is.
Status MemberWriter::find_pieces(int file, TarEntry& member) const {
  const auto size = static_cast<off_t>(member.size_bytes);
  std::vector<TarSparsePiece> pieces;
  uint64_t end = 0;  // of the last piece
  for (off_t at = 0; at < size;) {
    TRY(go_on());
    off_t data = ::lseek(file, at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
      return {};
    }
    data = data < 0 ? size : std::min(data, size);
    off_t hole = data < size ? ::lseek(file, data, SEEK_HOLE) : size;
    hole = hole < 0 ? size : std::min(hole, size);
    if (data < at || (hole <= data && data < size)) {
      return {};  // a file system of the container's own may say anything
    }
    const bool apart = static_cast<uint64_t>(data) - end >= kLeastHole && pieces.size() < kMostPieces;
    if (pieces.empty() && !apart) {
      pieces.push_back({0, 0});
    }
    // The empty piece at the end of a file that ends with a hole tells other readers how long it is.
    if (apart) {
      pieces.push_back({static_cast<uint64_t>(data), static_cast<uint64_t>(hole - data)});
    } else {
      pieces.back().length = static_cast<uint64_t>(hole) - pieces.back().offset;
    }
    end = static_cast<uint64_t>(hole);
    at = hole;
  }
  if (pieces.size() > 1 || (pieces.size() == 1 && pieces.front().offset != 0)) {
    member.sparse = true;
    member.pieces = std::move(pieces);
  }
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
    const auto most = static_cast<size_t>(std::min<uint64_t>(copy_.size(), piece.length - done));
    const ssize_t got = ::pread(file, copy_.data(), most, static_cast<off_t>(piece.offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return fail_errno("read '" + member.name + "'");
    }
    if (got == 0 && rules_.changes) {
      std::fill_n(copy_.begin(), most, uint8_t{0});
      TRY(writer_.data({copy_.data(), most}));
      done += most;
      continue;
    }
    if (got == 0) {
      return fail(EIO, "read '" + member.name + "'", "the file became shorter while it was read");
    }
    TRY(writer_.data({copy_.data(), static_cast<size_t>(got)}));
    done += static_cast<uint64_t>(got);
  }
  return {};
}

Status MemberWriter::write_file(int node, TarEntry& member) {
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
    if (linked_.size() < kMostLinked) {
      linked_.emplace(key, name);
    }
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
  bool opaque = false;
  TRY(read_xattrs(node, member, opaque));
  if (S_ISDIR(status.st_mode)) {
    member.type = TarType::kDirectory;
    member.name += '/';
    TRY(write_empty(member));
    return opaque ? Written::kOpaque : Written::kWhole;
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
