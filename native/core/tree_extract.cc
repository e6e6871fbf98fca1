#include "tree_extract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "entry_attributes.h"
#include "layer_stream.h"
#include "layer_tree.h"
#include "sys.h"
#include "tar_reader.h"
#include "unique_fd.h"

namespace strata {

namespace {

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Error about(Error error, const std::string& name) { return std::move(error).within("unpack '" + name + "'"); }

// What rights depend on is kept with the owner, or not at all, and then may not be lost; the rest is lost on file systems that do not keep it, as cp(1) does.
// `path`: a name of the node that leads to nothing else.
Status set_xattrs(const std::string& path, const TarEntry& entry, bool keeps_owners) {
  for (const auto& [name, value] : entry.xattrs) {
    // Overlay's own would steer the host's mounts.
    if (name.starts_with("trusted.overlay.") || name == "security.selinux" || (!keeps_owners && !name.starts_with("user."))) {
      continue;
    }
    if (::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) != 0 && name == "security.capability") {
      return fail_errno("setxattr '" + entry.name + "'", "attribute " + name);
    }
  }
  return {};
}

class Extractor {
 public:
  Extractor(int root, const std::string& directory, const ExtractOptions& options) : root_(root), directory_(directory), options_(options) {}

  [[nodiscard]] Status unpack(TarEntry& entry, TarReader& reader);
  // Links, and then the times of directories, which making something in them changes.
  [[nodiscard]] Status finish();
  [[nodiscard]] const Extracted& result() const { return result_; }

 private:
  [[nodiscard]] Result<UniqueFd> open(const std::string& path, int flags) const {
    return real_sys().open_at(root_, directory_ + "/" + path, flags, 0, kResolveInRoot);
  }
  [[nodiscard]] Result<int> parent_of(const std::string& path, std::string& name);
  [[nodiscard]] Result<UniqueFd> make_directories(const std::string& path, const std::string& wanted_by);
  [[nodiscard]] Status unpack_file(int parent, const std::string& name, const TarEntry& entry, TarReader& reader);
  [[nodiscard]] Status unpack_directory(int parent, const std::string& name, const std::string& path, const TarEntry& entry);
  [[nodiscard]] Status unpack_hard_link(int parent, const std::string& name, const std::string& path, const TarEntry& entry);
  [[nodiscard]] Status unpack_node(int parent, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status make_link(const std::string& path, const TarEntry& entry);
  [[nodiscard]] Status set_attributes(int fd, const TarEntry& entry) const;
  [[nodiscard]] Status set_node_attributes(int parent, const std::string& name, const TarEntry& entry) const;
  [[nodiscard]] Status take_place(int parent, const std::string& temporary, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status remember(uint64_t bytes, const TarEntry& entry);
  [[nodiscard]] std::string temporary_name();

  int root_;
  std::string directory_;
  const ExtractOptions& options_;
  Extracted result_;
  std::string parent_path_;
  UniqueFd parent_;  // of parent_path_; the last one is kept, for archives list a directory's members together
  std::map<std::string, TarEntry> links_;  // by path
  std::map<std::string, timespec> made_;   // directories, by path
  uint64_t memory_ = 0;
  std::random_device random_;
};

Status Extractor::remember(uint64_t bytes, const TarEntry& entry) {
  constexpr uint64_t kNodeBytes = 256;
  memory_ += bytes + kNodeBytes;
  if (memory_ > options_.most_memory) {
    return fail(E2BIG, "unpack '" + entry.name + "'", "the archive has too many links and directories");
  }
  return {};
}

// Nobody in the container can guess it, so nothing waits there.
std::string Extractor::temporary_name() {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), ".strata-%08x%08x", random_(), random_());
  return text.data();
}

Result<UniqueFd> Extractor::make_directories(const std::string& path, const std::string& wanted_by) {
  UniqueFd current = TRY(open("", O_PATH | O_DIRECTORY));
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string prefix = path.substr(0, end);
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    auto next = open(prefix, O_PATH | O_DIRECTORY);
    if (!next && next.error().errno_value == ENOENT) {
      if (::mkdirat(current.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
        return fail_errno("make directory '" + prefix + "'");
      }
      next = real_sys().open_at(current.get(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, 0);
    }
    if (!next) {
      return std::unexpected(about(std::move(next).error(), wanted_by));
    }
    current = std::move(*next);
  }
  return current;
}

Result<int> Extractor::parent_of(const std::string& path, std::string& name) {
  const size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string parent_path = slash == std::string::npos ? std::string() : path.substr(0, slash);
  if (!parent_ || parent_path != parent_path_) {
    parent_ = TRY(make_directories(parent_path, path));
    parent_path_ = parent_path;
  }
  return parent_.get();
}

// By the descriptor of what was made here: whatever has its name by now is not touched.
Status Extractor::set_attributes(int fd, const TarEntry& entry) const {
  if (options_.keeps_owners && ::fchown(fd, entry.uid, entry.gid) != 0) {
    return fail_errno("chown '" + entry.name + "'", errno == EINVAL ? "the container's user namespace has no such owner" : "");
  }
  if (::fchmod(fd, options_.keeps_owners ? entry.mode : entry.mode & 01777) != 0) {
    return fail_errno("chmod '" + entry.name + "'");
  }
  return set_xattrs(proc_path(fd), entry, options_.keeps_owners);
}

// Links, pipes and device nodes cannot be made with a descriptor: somebody may have put another thing there since. What is not as it was made is left alone.
Status Extractor::set_node_attributes(int parent, const std::string& name, const TarEntry& entry) const {
  const UniqueFd node(::openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!node || ::fstat(node.get(), &status) != 0 || status.st_nlink != 1 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
    return {};
  }
  const bool is_link = entry.type == TarType::kSymlink;
  if (S_ISLNK(status.st_mode) != is_link) {
    return {};
  }
  if (options_.keeps_owners && ::fchownat(node.get(), "", entry.uid, entry.gid, AT_EMPTY_PATH) != 0) {
    return fail_errno("chown '" + entry.name + "'", errno == EINVAL ? "the container's user namespace has no such owner" : "");
  }
  if (!is_link && ::chmod(proc_path(node.get()).c_str(), options_.keeps_owners ? entry.mode : entry.mode & 01777) != 0) {
    return fail_errno("chmod '" + entry.name + "'");
  }
  TRY(set_xattrs(proc_path(node.get()), entry, options_.keeps_owners));
  const timespec times[2] = {entry_time(entry), entry_time(entry)};
  // Of the node itself: the magic link's end is not followed any further.
  static_cast<void>(::utimensat(AT_FDCWD, proc_path(node.get()).c_str(), times, 0));
  return {};
}

// By rename: who reads the old one has it whole, and there is no moment without either.
Status Extractor::take_place(int parent, const std::string& temporary, const std::string& name, const TarEntry& entry) {
  if (::renameat(parent, temporary.c_str(), parent, name.c_str()) == 0) {
    return {};
  }
  const int reason = errno;
  ::unlinkat(parent, temporary.c_str(), 0);
  if (reason == EBUSY) {
    return fail(reason, "replace '" + entry.name + "'", "something is mounted there");
  }
  return fail(reason, "replace '" + entry.name + "'", reason == EISDIR ? "a directory has that name" : "");
}

Status Extractor::unpack_file(int parent, const std::string& name, const TarEntry& entry, TarReader& reader) {
  // Without a name nothing of it is left where this process dies. Not every file system can do that.
  UniqueFd fd(::openat(parent, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
  std::string temporary;
  if (!fd) {
    temporary = temporary_name();
    fd = UniqueFd(::openat(parent, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  if (!fd) {
    return fail_errno("create '" + entry.name + "'");
  }
  const auto fill = [&]() -> Status {
    TRY(write_data(fd.get(), entry, reader));
    TRY(set_attributes(fd.get(), entry));
    const timespec times[2] = {entry_time(entry), entry_time(entry)};
    if (::futimens(fd.get(), times) != 0) {
      return fail_errno("utimens '" + entry.name + "'");
    }
    return {};
  };
  if (auto filled = fill(); !filled) {
    if (!temporary.empty()) {
      ::unlinkat(parent, temporary.c_str(), 0);
    }
    return filled;
  }
  result_.bytes += entry.stored_bytes;
  if (temporary.empty()) {
    if (::linkat(AT_FDCWD, proc_path(fd.get()).c_str(), parent, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      return {};
    }
    if (errno != EEXIST) {
      return fail_errno("create '" + entry.name + "'");
    }
    temporary = temporary_name();
    if (::linkat(AT_FDCWD, proc_path(fd.get()).c_str(), parent, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return fail_errno("create '" + entry.name + "'");
    }
  }
  return take_place(parent, temporary, name, entry);
}

Status Extractor::unpack_directory(int parent, const std::string& name, const std::string& path, const TarEntry& entry) {
  if (::mkdirat(parent, name.c_str(), 0700) != 0) {
    if (errno != EEXIST) {
      return fail_errno("make directory '" + entry.name + "'");
    }
    if (made_.contains(path)) {
      return {};
    }
    // One that was there, or a link to one.
    if (auto present = open(path, O_PATH | O_DIRECTORY); !present) {
      return fail(ENOTDIR, "unpack '" + entry.name + "'", "what has that name is no directory");
    }
    return {};
  }
  const UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    return fail_errno("open '" + entry.name + "'");
  }
  TRY(remember(path.size(), entry));
  made_.insert_or_assign(path, entry_time(entry));
  return set_attributes(fd.get(), entry);
}

Status Extractor::unpack_hard_link(int parent, const std::string& name, const std::string& path, const TarEntry& entry) {
  const std::string target = TRY(path_in_layer(entry.link_name));
  if (const auto link = links_.find(target); link != links_.end()) {
    TarEntry again = link->second;
    again.name = entry.name;
    TRY(remember(path.size() + again.link_name.size(), entry));
    links_.insert_or_assign(path, std::move(again));
    return {};
  }
  const size_t slash = target.rfind('/');
  const std::string target_name = slash == std::string::npos ? target : target.substr(slash + 1);
  const auto holder = open(slash == std::string::npos ? "" : target.substr(0, slash), O_PATH | O_DIRECTORY);
  struct stat status;
  if (target.empty() || !holder || ::fstatat(holder->get(), target_name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(status.st_mode)) {
    return fail(EBADMSG, "unpack '" + entry.name + "'", "its hard link's target '" + entry.link_name + "' is not in the archive before it");
  }
  if (::linkat(holder->get(), target_name.c_str(), parent, name.c_str(), 0) == 0) {
    return {};
  }
  if (errno != EEXIST) {
    return fail_errno("link '" + entry.name + "'");
  }
  struct stat present;
  if (::fstatat(parent, name.c_str(), &present, AT_SYMLINK_NOFOLLOW) == 0 && present.st_dev == status.st_dev && present.st_ino == status.st_ino) {
    return {};  // rename(2) of two names of one file does nothing, and would leave the temporary one
  }
  const std::string temporary = temporary_name();
  if (::linkat(holder->get(), target_name.c_str(), parent, temporary.c_str(), 0) != 0) {
    return fail_errno("link '" + entry.name + "'");
  }
  return take_place(parent, temporary, name, entry);
}

Status Extractor::unpack_node(int parent, const std::string& name, const TarEntry& entry) {
  const mode_t kind = entry.type == TarType::kFifo ? S_IFIFO : entry.type == TarType::kCharDevice ? S_IFCHR : S_IFBLK;
  const dev_t device = entry.type == TarType::kFifo ? 0 : makedev(entry.device_major, entry.device_minor);
  if (kind == S_IFCHR && device == 0) {
    ++result_.left_out;  // overlay's own mark
    return {};
  }
  const std::string temporary = temporary_name();
  if (::mknodat(parent, temporary.c_str(), kind | 0600, device) != 0) {
    if (errno == EPERM && kind != S_IFIFO) {
      ++result_.left_out;
      return {};
    }
    return fail_errno("mknod '" + entry.name + "'");
  }
  if (auto set = set_node_attributes(parent, temporary, entry); !set) {
    ::unlinkat(parent, temporary.c_str(), 0);
    return set;
  }
  return take_place(parent, temporary, name, entry);
}

Status Extractor::make_link(const std::string& path, const TarEntry& entry) {
  std::string name;
  const int parent = TRY(parent_of(path, name));
  const std::string temporary = temporary_name();
  if (::symlinkat(entry.link_name.c_str(), parent, temporary.c_str()) != 0) {
    return fail_errno("symlink '" + entry.name + "'");
  }
  if (auto set = set_node_attributes(parent, temporary, entry); !set) {
    ::unlinkat(parent, temporary.c_str(), 0);
    return set;
  }
  return take_place(parent, temporary, name, entry);
}

Status Extractor::unpack(TarEntry& entry, TarReader& reader) {
  const std::string path = TRY(path_in_layer(entry.name));
  if (path.empty()) {
    return {};  // the directory itself, which stays as it is
  }
  ++result_.entries;
  if (!links_.empty()) {
    links_.erase(path);  // the last member of a name wins
  }
  if (entry.type == TarType::kSymlink) {
    if (entry.link_name.empty()) {
      return fail(EBADMSG, "unpack '" + entry.name + "'", "a symbolic link without a target");
    }
    TRY(remember(path.size() + entry.name.size() + entry.link_name.size(), entry));
    links_.insert_or_assign(path, std::move(entry));
    return {};
  }
  std::string name;
  const int parent = TRY(parent_of(path, name));
  switch (entry.type) {
    case TarType::kFile:
      return unpack_file(parent, name, entry, reader);
    case TarType::kDirectory:
      return unpack_directory(parent, name, path, entry);
    case TarType::kHardLink:
      return unpack_hard_link(parent, name, path, entry);
    case TarType::kCharDevice:
    case TarType::kBlockDevice:
    case TarType::kFifo:
      return unpack_node(parent, name, entry);
    case TarType::kSymlink:
      break;
  }
  return {};
}

Status Extractor::finish() {
  for (const auto& [path, entry] : links_) {
    TRY(make_link(path, entry));
  }
  for (const auto& [path, time] : made_) {
    const auto fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const timespec times[2] = {time, time};
    if (fd) {
      static_cast<void>(::futimens(fd->get(), times));
    }
  }
  return {};
}

}  // namespace

Result<Extracted> extract_archive(int source, int root, const std::string& directory, const ExtractOptions& options) {
  LayerStream stream(source, Compression::kAuto, options.cancelled);
  TarReader reader(stream);
  Extractor extractor(root, directory, options);
  for (;;) {
    if (options.cancelled != nullptr && options.cancelled->load(std::memory_order_relaxed)) {
      return fail(ECANCELED, "unpack 'archive'");
    }
    auto entry = TRY(reader.next());
    if (!entry) {
      break;
    }
    TRY(extractor.unpack(*entry, reader));
  }
  TRY(stream.drain(uint64_t{64} << 20));
  TRY(extractor.finish());
  return extractor.result();
}

}  // namespace strata
