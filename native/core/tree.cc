#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

namespace strata {

namespace {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Where names need not be sorted, so many of one directory are held at a time, and of so many directories on the way to the present one.
constexpr size_t kBatchNames = 4096;
constexpr size_t kLevelsWithNames = 16;

struct Name {
  std::string text;
  unsigned char type;
  long behind;  // where the directory's stream goes on behind it
};

struct Level {
  dev_t device;
  ino_t inode;
  size_t path_length;  // of the walk's path when this level was entered
  std::vector<Name> names = {};
  size_t next = 0;
  long position = 0;      // of the directory's stream behind `names`
  bool complete = false;  // nothing is behind `names`

  // Keeps the present name alone; those behind it are read again.
  void forget_names() {
    if (next + 1 < names.size()) {
      position = names[next].behind;
      complete = false;
    }
    names = {std::move(names[next])};
    next = 0;
  }
};

UniqueFd open_child(int parent, const char* name, bool crosses_mounts = false) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | (crosses_mounts ? 0U : RESOLVE_NO_XDEV);
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, parent, name, &how, sizeof how)));
}

Result<Level> enter(int directory, size_t path_length) {
  struct stat status;
  if (::fstat(directory, &status) != 0) {
    return fail_errno("stat 'directory'");
  }
  return Level{.device = status.st_dev, .inode = status.st_ino, .path_length = path_length};
}

// The next names of the level, `most` of them; none behind the last.
Status read_names(int directory, TreeOrder order, size_t most, Level& level) {
  level.names.clear();
  level.next = 0;
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, DirectoryCloser> stream(copy < 0 ? nullptr : ::fdopendir(copy));
  if (stream == nullptr) {
    return fail_errno("read 'directory'");
  }
  const long start = level.position;
  if (start != 0) {
    ::seekdir(stream.get(), start);
  }
  while (level.names.size() < most) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) {
        return fail_errno("read 'directory'");
      }
      // A position in a directory may mean another name once names before it are gone (tmpfs before Linux 6.6): a removal looks again from the start.
      level.complete = order != TreeOrder::kRemoving || start == 0;
      level.position = 0;
      break;
    }
    level.position = entry->d_off;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    unsigned char type = entry->d_type;
    struct stat status;
    if (type == DT_UNKNOWN && ::fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      type = static_cast<unsigned char>(IFTODT(status.st_mode));
    }
    level.names.push_back({std::string(name), type, entry->d_off});
  }
  return {};
}

Status read_sorted(int directory, size_t most, Level& level) {
  TRY(read_names(directory, TreeOrder::kByName, most + (most < SIZE_MAX ? 1 : 0), level));
  if (!level.complete) {
    return fail(E2BIG, "read 'directory'", "the tree has more than " + std::to_string(most) + " names");
  }
  std::sort(level.names.begin(), level.names.end(), [](const Name& left, const Name& right) { return left.text < right.text; });
  return {};
}

}  // namespace

Status walk_tree(int root, TreeOrder order, const TreeVisitor& visit, const WalkOptions& options) {
  size_t most_names = options.most_names;
  UniqueFd current(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!current) {
    return fail_errno("open 'directory'");
  }
  std::string path;
  std::vector<Level> levels;
  levels.push_back(TRY(enter(current.get(), 0)));
  for (;;) {
    Level& level = levels.back();
    path.resize(level.path_length);
    if (level.next < level.names.size()) {
      const Name& name = level.names[level.next];
      path += (path.empty() ? "" : "/") + name.text;
      const TreeEntry entry{current.get(), name.text.c_str(), path, name.type, levels.size()};
      const bool enters = TRY(visit(TreeVisit::kBefore, entry));
      if (name.type != DT_DIR || !enters) {
        ++level.next;
        continue;
      }
      UniqueFd child = open_child(current.get(), name.text.c_str(), options.crosses_mounts);
      if (!child && options.changes && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
        ++level.next;
        continue;
      }
      if (!child) {
        return fail_errno("open '" + path + "'", errno == EXDEV ? "another file system is mounted there; unmount it first" : "");
      }
      current = std::move(child);
      levels.push_back(TRY(enter(current.get(), path.size())));
      if (order != TreeOrder::kByName && levels.size() > kLevelsWithNames) {
        levels[levels.size() - 1 - kLevelsWithNames].forget_names();
      }
      continue;
    }
    if (!level.complete) {
      if (order == TreeOrder::kByName) {
        TRY(read_sorted(current.get(), most_names, level));
        most_names -= level.names.size();
      } else {
        TRY(read_names(current.get(), order, kBatchNames, level));
      }
      continue;
    }
    if (levels.size() == 1) {
      return {};
    }
    UniqueFd up(::openat(current.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    levels.pop_back();
    Level& parent = levels.back();
    struct stat status;
    if (!up || ::fstat(up.get(), &status) != 0) {
      return fail_errno("open 'parent of " + path + "'");
    }
    if (status.st_dev != parent.device || status.st_ino != parent.inode) {
      return fail(ESTALE, "walk '" + path + "'", "a directory was moved away while it was being walked");
    }
    current = std::move(up);
    const Name& name = parent.names[parent.next];
    TRY(visit(TreeVisit::kAfter, TreeEntry{current.get(), name.text.c_str(), path, name.type, levels.size()}));
    ++parent.next;
  }
}

Status remove_tree_below(int root) {
  return walk_tree(root, TreeOrder::kRemoving, [](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    if (entry.type == DT_DIR && when == TreeVisit::kBefore) {
      return true;
    }
    if (::unlinkat(entry.parent, entry.name, entry.type == DT_DIR ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
      return fail_errno("remove '" + entry.path + "'");
    }
    return true;
  });
}

Status remove_tree_at(int parent, const char* name) {
  if (::unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
    return {};
  }
  if (errno != EISDIR && errno != EPERM) {  // POSIX says EPERM for a directory, Linux EISDIR
    return fail_errno(std::string("remove '") + name + "'");
  }
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0) {
    return {};
  }
  if (errno != ENOTEMPTY && errno != EEXIST) {
    return fail_errno(std::string("remove '") + name + "'", errno == EBUSY ? "something is mounted there; unmount it first" : "");
  }
  const UniqueFd directory = open_child(parent, name);
  if (!directory) {
    return fail_errno(std::string("open '") + name + "'", errno == EXDEV ? "something is mounted there; unmount it first" : "");
  }
  TRY(remove_tree_below(directory.get()));
  if (::unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return fail_errno(std::string("remove '") + name + "'");
  }
  return {};
}

Status remove_tree(const std::string& given) {
  std::string path = given;
  while (path.size() > 1 && path.back() == '/') {
    path.pop_back();
  }
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (path.empty() || path.front() != '/' || name.empty() || name == "." || name == "..") {
    return fail(EINVAL, "remove '" + given + "'", "an absolute path below the root is needed");
  }
  const UniqueFd parent(::open(slash == 0 ? "/" : path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) {
    if (errno == ENOENT) {
      return {};
    }
    return fail_errno("open '" + path.substr(0, slash) + "'");
  }
  auto removed = remove_tree_at(parent.get(), name.c_str());
  if (!removed) {
    return std::unexpected(std::move(removed).error().within("remove tree '" + path + "'"));
  }
  return {};
}

Result<TreeUsage> tree_usage(const std::string& path, uint64_t most_entries) {
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    return fail_errno("open '" + path + "'");
  }
  TreeUsage usage;
  std::set<ino_t> linked;  // one file system, so the inode alone names the file
  const Status walked = walk_tree(root.get(), TreeOrder::kAsStored, [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    if (when == TreeVisit::kAfter) {
      return true;
    }
    if (usage.entries == most_entries) {
      usage.complete = false;
      return fail(E2BIG, "count '" + path + "'");
    }
    ++usage.entries;
    if (entry.type == DT_DIR) {
      // Another file system mounted here is none of this tree's bytes.
      const UniqueFd probe = open_child(entry.parent, entry.name);
      return probe.valid();
    }
    struct stat status;
    if (entry.type == DT_REG && ::fstatat(entry.parent, entry.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        (status.st_nlink == 1 || linked.insert(status.st_ino).second)) {
      usage.size_bytes += static_cast<uint64_t>(status.st_size);
    }
    return true;
  });
  if (!walked && usage.complete) {
    return std::unexpected(walked.error());
  }
  return usage;
}

}  // namespace strata
