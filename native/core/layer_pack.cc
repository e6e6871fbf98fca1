#include "layer_pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tar_writer.h"
#include "tree.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr uint64_t kLeastHole = 64 * 1024;  // a smaller one is not worth its place in the map
constexpr size_t kMostPieces = 1 << 20;     // as the reader takes

class Packer {
 public:
  Packer(int output, const PackOptions& options) : options_(options), writer_(output), copy_(256 * 1024) {}

  [[nodiscard]] Status pack(const TreeEntry& entry);
  [[nodiscard]] Status pack_root(int source);
  [[nodiscard]] Status finish() { return writer_.finish(); }
  [[nodiscard]] PackedDirectory result() const { return {entries_, writer_.bytes()}; }

 private:
  // An O_PATH descriptor names any kind of node without opening it; /proc leads from it to the attributes.
  [[nodiscard]] Status read_xattrs(int node, TarEntry& member, bool& opaque);
  [[nodiscard]] Status pack_file(int node, TarEntry& member);
  [[nodiscard]] Status find_pieces(int file, TarEntry& member) const;
  [[nodiscard]] Status pack_piece(int file, const TarSparsePiece& piece, const TarEntry& member);
  [[nodiscard]] Status go_on() const;
  [[nodiscard]] Status pack_marker(const std::string& name);
  [[nodiscard]] Status write_empty(const TarEntry& member);

  const PackOptions& options_;
  TarWriter writer_;
  std::vector<uint8_t> copy_;
  std::map<ino_t, std::string> linked_;  // one file system: the inode alone names the file
  uint64_t entries_ = 0;
  uint64_t file_bytes_ = 0;
};

Status Packer::go_on() const {
  if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "pack 'directory'");
  }
  return {};
}

void take_status(const struct stat& status, TarEntry& member) {
  member.mode = status.st_mode & 07777;
  member.uid = status.st_uid;
  member.gid = status.st_gid;
  member.mtime_sec = status.st_mtim.tv_sec;
  member.mtime_nsec = static_cast<uint32_t>(status.st_mtim.tv_nsec);
}

Status Packer::write_empty(const TarEntry& member) {
  ++entries_;
  return writer_.begin(member);
}

// A whiteout has neither owner nor time of its own: when the overlay made it is nobody's matter.
Status Packer::pack_marker(const std::string& name) {
  TarEntry member;
  member.name = name;
  return write_empty(member);
}

Status Packer::read_xattrs(int node, TarEntry& member, bool& opaque) {
  const std::string path = "/proc/self/fd/" + std::to_string(node);
  // With its own link resolved by the kernel, getxattr (not l) on a magic link reaches the node itself, were it a symbolic link or a device.
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
    if (got < 0) {
      continue;  // removed meanwhile
    }
    value.resize(static_cast<size_t>(got));
    if (name == "trusted.overlay.opaque") {
      opaque = value == "y";
    }
    // What apply_layer stored escaped goes back to its own name; overlay's own attributes are of this host.
    if (name.starts_with("trusted.overlay.overlay.")) {
      member.xattrs.emplace_back("trusted.overlay." + name.substr(24), value);
    } else if (name.starts_with("user.overlay.overlay.")) {
      member.xattrs.emplace_back("user.overlay." + name.substr(21), value);
    } else if (!name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.") && name != "security.selinux") {
      member.xattrs.emplace_back(name, value);
    }
  }
  std::sort(member.xattrs.begin(), member.xattrs.end());
  return {};
}

// Leaves a member without large holes, or on a file system that does not tell of them, as it is.
Status Packer::find_pieces(int file, TarEntry& member) const {
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

Status Packer::pack_piece(int file, const TarSparsePiece& piece, const TarEntry& member) {
  if (piece.length > options_.max_bytes || file_bytes_ > options_.max_bytes - piece.length) {
    return fail(E2BIG, "read '" + member.name + "'", "the files of the directory have more than " + std::to_string(options_.max_bytes) + " bytes");
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
    if (got == 0) {
      return fail(EIO, "read '" + member.name + "'", "the file became shorter while it was read");
    }
    TRY(writer_.data({copy_.data(), static_cast<size_t>(got)}));
    done += static_cast<uint64_t>(got);
  }
  return {};
}

Status Packer::pack_file(int node, TarEntry& member) {
  const UniqueFd fd(::open(("/proc/self/fd/" + std::to_string(node)).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    return fail_errno("open '" + member.name + "'");
  }
  TRY(find_pieces(fd.get(), member));
  TRY(writer_.begin(member));
  if (!member.sparse) {
    TRY(pack_piece(fd.get(), {0, member.size_bytes}, member));
  }
  for (const TarSparsePiece& piece : member.pieces) {
    TRY(pack_piece(fd.get(), piece, member));
  }
  ++entries_;
  return writer_.end();
}

Status Packer::pack_root(int source) {
  struct stat status;
  if (::fstat(source, &status) != 0) {
    return fail_errno("stat 'source'");
  }
  const UniqueFd node(::openat(source, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  TarEntry member;
  bool opaque = false;
  member.type = TarType::kDirectory;
  member.name = "./";
  take_status(status, member);
  TRY(read_xattrs(node.get(), member, opaque));
  TRY(write_empty(member));
  return opaque ? pack_marker(".wh..wh..opq") : Status{};
}

Status Packer::pack(const TreeEntry& entry) {
  TRY(go_on());
  if (entries_ >= options_.max_entries) {
    return fail(E2BIG, "read '" + entry.path + "'", "the directory has more than " + std::to_string(options_.max_entries) + " entries");
  }
  const UniqueFd node(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!node || ::fstat(node.get(), &status) != 0) {
    return fail_errno("open '" + entry.path + "'");
  }
  TarEntry member;
  bool opaque = false;
  member.name = entry.path;
  take_status(status, member);
  if (S_ISSOCK(status.st_mode)) {
    return {};
  }
  if (S_ISCHR(status.st_mode) && status.st_rdev == 0) {
    return pack_marker(entry.path.substr(0, entry.path.size() - std::string_view(entry.name).size()) + ".wh." + entry.name);
  }
  if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
    const auto [first, is_new] = linked_.emplace(status.st_ino, entry.path);
    if (!is_new) {
      member.type = TarType::kHardLink;
      member.link_name = first->second;
      return write_empty(member);
    }
  }
  if (S_ISLNK(status.st_mode)) {
    member.type = TarType::kSymlink;
    member.link_name.resize(4096);
    const ssize_t length = ::readlinkat(node.get(), "", member.link_name.data(), member.link_name.size());
    if (length < 0) {
      return fail_errno("readlink '" + entry.path + "'");
    }
    member.link_name.resize(static_cast<size_t>(length));
    return write_empty(member);
  }
  TRY(read_xattrs(node.get(), member, opaque));
  if (S_ISDIR(status.st_mode)) {
    member.type = TarType::kDirectory;
    member.name += '/';
    TRY(write_empty(member));
    return opaque ? pack_marker(member.name + ".wh..wh..opq") : Status{};
  }
  if (S_ISREG(status.st_mode)) {
    member.size_bytes = static_cast<uint64_t>(status.st_size);
    return pack_file(node.get(), member);
  }
  member.type = S_ISFIFO(status.st_mode) ? TarType::kFifo : S_ISCHR(status.st_mode) ? TarType::kCharDevice : TarType::kBlockDevice;
  member.device_major = S_ISFIFO(status.st_mode) ? 0 : major(status.st_rdev);
  member.device_minor = S_ISFIFO(status.st_mode) ? 0 : minor(status.st_rdev);
  return write_empty(member);
}

}  // namespace

Result<PackedDirectory> pack_directory(int source, int output, const PackOptions& options) {
  Packer packer(output, options);
  TRY(packer.pack_root(source));
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    if (when == TreeVisit::kBefore) {
      TRY(packer.pack(entry));
    }
    return true;
  };
  TRY(walk_tree(source, TreeOrder::kByName, visit, options.max_entries));
  TRY(packer.finish());
  return packer.result();
}

}  // namespace strata
