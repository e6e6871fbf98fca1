#include "layer_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "entry_attributes.h"
#include "tree.h"

namespace strata {

std::unexpected<Error> unsafe_name(const std::string& name, const std::string& why) { return fail(EXDEV, "unpack '" + name + "'", why); }

Result<std::string> path_in_layer(const std::string& name) {
  std::string path;
  path.reserve(name.size());
  for (size_t at = 0; at < name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    const std::string_view component = std::string_view(name).substr(at, end - at);
    at = end + 1;
    if (component.empty() || component == ".") {
      continue;
    }
    if (component == "..") {
      return unsafe_name(name, "a name with \"..\" could leave the layer");
    }
    if (component.size() > 255) {
      return fail(ENAMETOOLONG, "unpack '" + name + "'");
    }
    if (!path.empty()) {
      path += '/';
    }
    path += component;
  }
  if (path.size() > 4095) {
    return fail(ENAMETOOLONG, "unpack '" + name.substr(0, 256) + "…'");
  }
  return path;
}

UniqueFd LayerTree::open(const std::string& path, int flags) const {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  int fd = 0;
  do {
    fd = static_cast<int>(::syscall(SYS_openat2, root_, path.empty() ? "." : path.c_str(), &how, sizeof how));
  } while (fd < 0 && (errno == EAGAIN || errno == EINTR));  // EAGAIN: a rename elsewhere on the host during ".." in a link
  return UniqueFd(fd);
}

Result<UniqueFd> LayerTree::make_directories(const std::string& path) {
  UniqueFd current = open("", O_PATH | O_DIRECTORY);
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string prefix = path.substr(0, end);
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    UniqueFd next = open(prefix, O_PATH | O_DIRECTORY);
    if (!next && errno == ENOTDIR) {
      // A whiteout that this layer also has things below: the directory is new and hides the lower one.
      struct stat status;
      if (::fstatat(current.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !is_whiteout(status) || !whiteouts_) {
        return fail(ENOTDIR, "unpack '" + path + "'", "'" + prefix + "' is not a directory in this archive");
      }
      if (::unlinkat(current.get(), name.c_str(), 0) != 0 || ::mkdirat(current.get(), name.c_str(), 0755) != 0) {
        return fail_errno("mkdir '" + prefix + "'");
      }
      const UniqueFd made(::openat(current.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!made || ::fchmod(made.get(), 0755) != 0) {
        return fail_errno("mkdir '" + prefix + "'");
      }
      TRY(set_opaque(made.get(), prefix));
      implied_.push_back(prefix);
      next = open(prefix, O_PATH | O_DIRECTORY);
    } else if (!next && errno == ENOENT) {
      if (::mkdirat(current.get(), name.c_str(), 0755) != 0) {
        if (errno == EEXIST) {
          return unsafe_name(path, "'" + prefix + "' is a symbolic link to nothing");
        }
        return fail_errno("mkdir '" + prefix + "'");
      }
      // The umask is the process's; the mode is set apart.
      if (::fchmodat(current.get(), name.c_str(), 0755, 0) != 0) {
        return fail_errno("chmod '" + prefix + "'");
      }
      implied_.push_back(prefix);
      next = open(prefix, O_PATH | O_DIRECTORY);
    }
    if (!next) {
      if (errno == ELOOP || errno == EXDEV) {
        return unsafe_name(path, "'" + prefix + "' is a symbolic link that leads nowhere inside the layer");
      }
      return fail_errno("open '" + prefix + "'");
    }
    current = std::move(next);
  }
  return current;
}

Result<int> LayerTree::parent_of(const std::string& path, std::string& name) {
  const size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string parent_path = slash == std::string::npos ? std::string() : path.substr(0, slash);
  if (parent_ && parent_path == parent_path_) {
    return parent_.get();
  }
  UniqueFd parent = open(parent_path, O_PATH | O_DIRECTORY);
  if (!parent) {
    parent = TRY(make_directories(parent_path));
  }
  parent_ = std::move(parent);
  parent_path_ = parent_path;
  return parent_.get();
}

bool LayerTree::is_hidden(const std::string& path) const {
  if (path.empty() || (parent_ && path == parent_path_) || open(path, O_PATH | O_DIRECTORY) || errno != ENOTDIR) {
    return false;
  }
  for (size_t end = path.find('/');; end = path.find('/', end + 1)) {
    const UniqueFd node = open(path.substr(0, end), O_PATH | O_NOFOLLOW);
    struct stat status;
    if (!node || ::fstat(node.get(), &status) != 0) {
      return false;
    }
    if (is_whiteout(status)) {
      return true;
    }
    if (end == std::string::npos) {
      return false;
    }
  }
}

Status LayerTree::replace(int parent, const std::string& name) {
  // What is replaced may be the link or directory that the kept parent went through; parent itself is the kept one and stays open.
  if (auto removed = remove_tree_at(parent, name.c_str()); !removed) {
    return removed;
  }
  parent_path_ = "/";  // no relative path equals it, so the next member looks its parent up again
  return {};
}

}  // namespace strata
