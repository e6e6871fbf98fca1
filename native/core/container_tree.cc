#include "container_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "kernel_files.h"
#include "path.h"
#include "sys.h"
#include "tree.h"

namespace strata {

namespace {

constexpr size_t kBlock = 256 << 10;

Result<size_t> read_some(int fd, char* buffer, size_t size, const std::string& path) {
  for (;;) {
    const ssize_t count = ::read(fd, buffer, size);
    if (count >= 0) {
      return static_cast<size_t>(count);
    }
    if (errno != EINTR) {
      return fail_errno("read '" + path + "'");
    }
  }
}

Status write_block(int fd, const char* bytes, size_t size, const std::string& path) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::write(fd, bytes + done, size - done);
    if (count < 0 && errno != EINTR) {
      return fail_errno("write '" + path + "'");
    }
    done += count < 0 ? 0 : static_cast<size_t>(count);
  }
  return {};
}

// All of it before anything is changed: who sends it may be cut off.
Result<std::vector<char>> read_input(int input, uint64_t size_bytes, const std::string& path) {
  if (size_bytes > kMostWritten) {
    return fail(EFBIG, "write '" + path + "'", "a file of more than " + std::to_string(kMostWritten >> 20) + " MiB is not written whole: copy it");
  }
  std::vector<char> bytes(size_bytes + 1);
  size_t have = 0;
  while (have < bytes.size()) {
    const size_t count = TRY(read_some(input, bytes.data() + have, bytes.size() - have, path));
    if (count == 0) {
      break;
    }
    have += count;
  }
  if (have != size_bytes) {
    return fail(EBADMSG, "write '" + path + "'", "what came is not as long as was said: nothing was changed");
  }
  bytes.resize(size_bytes);
  return bytes;
}

// An existing file, by the descriptor that was looked at.
Result<UniqueFd> open_to_write(int node, const std::string& path) {
  struct stat status;
  if (::fstat(node, &status) != 0) {
    return fail_errno("stat '" + path + "'");
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(S_ISDIR(status.st_mode) ? EISDIR : EINVAL, "write '" + path + "'", "only regular files can be written");
  }
  if (is_of_kernel(node)) {
    return fail(EPERM, "write '" + path + "'", "it is one of the kernel's own files: write it from within the container");
  }
  UniqueFd fd(::open(("/proc/self/fd/" + std::to_string(node)).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) {
    return fail_errno("write '" + path + "'");
  }
  return fd;
}

// Where there is no room for so much, the file stays as it is.
Status reserve(int file, uint64_t size_bytes, const std::string& path) {
  if (size_bytes == 0 || ::fallocate(file, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size_bytes)) == 0 || errno == EOPNOTSUPP || errno == ENOSYS) {
    return {};
  }
  auto refused = fail_errno("write '" + path + "'");
  if (struct stat status; ::fstat(file, &status) == 0) {
    [[maybe_unused]] const int shortened = ::ftruncate(file, status.st_size);  // gives back what was had of it
  }
  return refused;
}

struct Entry {
  UniqueFd parent;
  std::string name;
};

Result<Entry> entry_at(int root, const std::string& path) {
  const SplitPath split = split_path(path);
  if (split.name.empty() || split.name == "." || split.name == "..") {
    return fail(EINVAL, "change '" + path + "'", "it has no name of its own");
  }
  return Entry{TRY(real_sys().open_at(root, split.parent, O_PATH | O_DIRECTORY, 0, kResolveInRoot)), split.name};
}

// The node itself; ENOENT. Nothing below another mount: the dentry under a mount point could be removed from here, and the mount would go along (detach_mounts).
Result<struct stat> stat_unmounted(int parent, const std::string& name, const std::string& path) {
  auto node = real_sys().open_at(parent, name, O_PATH | O_NOFOLLOW, 0, kNoSymlinks | kNoMountPoints);
  if (!node) {
    if (node.error().errno_value == EXDEV) {
      return fail(EBUSY, "change '" + path + "'", "something is mounted there");
    }
    return fail(node.error().errno_value, "change '" + path + "'");
  }
  return real_sys().stat_fd(node->get());
}

void find_link_kind(int root, const std::string& path, LayerEntry& entry) {
  if (entry.kind != LayerEntryKind::kSymlink) {
    return;
  }
  const auto led = open_below(real_sys(), root, path);
  struct stat status;
  if (led && ::fstat(led->get(), &status) == 0) {
    entry.link_kind = node_kind(status);
  }
}

// Removes everything below a directory, nothing of which may be a mount point.
Status remove_below(int directory, const std::string& path) {
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    const auto status = stat_unmounted(entry.parent, entry.name, path + "/" + entry.path);
    if (!status) {
      return status.error().errno_value == ENOENT ? Result<bool>(false) : std::unexpected(status.error());
    }
    if (when == TreeVisit::kBefore && entry.type == DT_DIR) {
      return true;
    }
    if (::unlinkat(entry.parent, entry.name, S_ISDIR(status->st_mode) ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
      return fail_errno("remove '" + path + "/" + entry.path + "'");
    }
    return true;
  };
  return walk_tree(directory, TreeOrder::kRemoving, visit, {.changes = true});
}

}  // namespace

Result<LayerListing> list_tree(int root, const std::string& path) {
  UniqueFd directory = TRY(real_sys().open_at(root, path, O_RDONLY | O_DIRECTORY, 0, kResolveInRoot));
  return list_directory(std::move(directory), path, [&](int node, const struct stat& status, std::string name) {
    LayerEntry entry = describe_node(node, status, std::move(name));
    find_link_kind(root, path + "/" + entry.name, entry);
    return entry;
  });
}

Result<TreeStat> stat_tree(int root, const std::string& path, bool follows) {
  const UniqueFd node = TRY(real_sys().open_at(root, path, O_PATH | (follows ? 0 : O_NOFOLLOW), 0, kResolveInRoot));
  const struct stat status = TRY(real_sys().stat_fd(node.get()));
  const std::string name = split_path(path).name;
  TreeStat found{.entry = describe_node(node.get(), status, name.empty() ? "/" : name)};
  find_link_kind(root, path, found.entry);
  struct statvfs file_system;
  found.read_only = ::fstatvfs(node.get(), &file_system) == 0 && (file_system.f_flag & ST_RDONLY) != 0;
  return found;
}

Result<uint64_t> read_tree_file(int root, const std::string& path, int output) {
  const UniqueFd node = TRY(open_below(real_sys(), root, path));
  const UniqueFd file = TRY(open_regular_file(node.get(), path));
  const uint64_t most = is_of_kernel(node.get()) ? kMostOfKernelFile : UINT64_MAX;
  std::vector<char> block(kBlock);
  uint64_t bytes = 0;
  for (;;) {
    const size_t count = TRY(read_some(file.get(), block.data(), block.size(), path));
    if (count == 0) {
      return bytes;
    }
    bytes += count;
    if (bytes > most) {
      return fail(EFBIG, "read '" + path + "'", "it is one of the kernel's own files and has no end");
    }
    TRY(write_block(output, block.data(), count, path));
  }
}

Status write_tree_file(int root, const std::string& path, int input, const WriteOptions& options) {
  const std::vector<char> bytes = TRY(read_input(input, options.size_bytes, path));
  UniqueFd file;
  auto node = open_below(real_sys(), root, path);
  const bool is_there = node.has_value();
  Entry entry;
  if (is_there) {
    if (!options.replaces) {
      return fail(EEXIST, "write '" + path + "'");
    }
    file = TRY(open_to_write(node->get(), path));
  } else {
    if (node.error().errno_value != ENOENT || !options.creates) {
      return std::unexpected(std::move(node).error());
    }
    entry = TRY(entry_at(root, path));
    // O_EXCL: a link to nothing, or what came meanwhile, is not written through.
    auto made = real_sys().open_at(entry.parent.get(), entry.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, kResolveInRoot);
    if (!made) {
      return fail(made.error().errno_value, "write '" + path + "'");
    }
    file = std::move(*made);
  }
  Status done = reserve(file.get(), bytes.size(), path);
  if (done) {
    done = write_block(file.get(), bytes.data(), bytes.size(), path);
  }
  if (done && ::ftruncate(file.get(), static_cast<off_t>(bytes.size())) != 0) {
    done = fail_errno("write '" + path + "'");
  }
  if (!done && !is_there) {
    static_cast<void>(::unlinkat(entry.parent.get(), entry.name.c_str(), 0));
  }
  return done;
}

Status make_tree_directory(int root, const std::string& path) {
  const Entry entry = TRY(entry_at(root, path));
  if (::mkdirat(entry.parent.get(), entry.name.c_str(), 0755) != 0) {
    return fail_errno("make directory '" + path + "'");
  }
  return {};
}

Status remove_tree_entry(int root, const std::string& path, bool recursive) {
  const Entry entry = TRY(entry_at(root, path));
  const struct stat status = TRY(stat_unmounted(entry.parent.get(), entry.name, path));
  const bool is_directory = S_ISDIR(status.st_mode);
  if (is_directory && recursive) {
    const UniqueFd directory = TRY(real_sys().open_at(entry.parent.get(), entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, kNoSymlinks | kNoMountPoints));
    TRY(remove_below(directory.get(), path));
  }
  if (::unlinkat(entry.parent.get(), entry.name.c_str(), is_directory ? AT_REMOVEDIR : 0) != 0) {
    return fail_errno("remove '" + path + "'");
  }
  return {};
}

Status rename_tree_entry(int root, const std::string& from, const std::string& to, bool replaces) {
  const Entry old_entry = TRY(entry_at(root, from));
  const Entry new_entry = TRY(entry_at(root, to));
  TRY(stat_unmounted(old_entry.parent.get(), old_entry.name, from));
  if (auto there = stat_unmounted(new_entry.parent.get(), new_entry.name, to); there && !replaces) {
    return fail(EEXIST, "rename '" + from + "' to '" + to + "'");
  } else if (!there && there.error().errno_value != ENOENT) {
    return std::unexpected(std::move(there).error());
  }
  const unsigned flags = replaces ? 0 : RENAME_NOREPLACE;
  if (::syscall(SYS_renameat2, old_entry.parent.get(), old_entry.name.c_str(), new_entry.parent.get(), new_entry.name.c_str(), flags) != 0) {
    return fail_errno("rename '" + from + "' to '" + to + "'");
  }
  return {};
}

}  // namespace strata
