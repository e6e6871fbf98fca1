#include "tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string_view>

#include "unique_fd.h"

namespace strata {

namespace {

constexpr int kMaxDepth = 256;  // one descriptor pair a level is open

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Status copy_content(int from, int to, const char* name) {
  for (;;) {
    const ssize_t count = ::sendfile(to, from, nullptr, 1 << 20);
    if (count == 0) {
      return {};
    }
    if (count < 0 && errno != EINTR) {
      return fail_errno("copy '" + std::string(name) + "'");
    }
  }
}

Status copy_link(int from, int to, const char* name) {
  std::array<char, PATH_MAX> text{};
  if (::readlinkat(from, name, text.data(), text.size() - 1) < 0 || ::symlinkat(text.data(), to, name) < 0) {
    return fail_errno("copy the link '" + std::string(name) + "'");
  }
  return {};
}

Status copy_below(int from, int to, int depth);

Status copy_entry(int from, int to, const char* name, int depth) {
  struct stat status {};
  if (::fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
    return fail_errno("look at '" + std::string(name) + "'");
  }
  if (S_ISDIR(status.st_mode)) {
    const UniqueFd source(::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!source || ::mkdirat(to, name, 0700) < 0) {
      return fail_errno("copy the directory '" + std::string(name) + "'");
    }
    const UniqueFd target(::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!target) {
      return fail_errno("open '" + std::string(name) + "'");
    }
    TRY(copy_below(source.get(), target.get(), depth + 1));
  } else if (S_ISREG(status.st_mode)) {
    const UniqueFd source(::openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    const UniqueFd target(::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!source || !target) {
      return fail_errno("copy '" + std::string(name) + "'");
    }
    TRY(copy_content(source.get(), target.get(), name));
  } else if (S_ISLNK(status.st_mode)) {
    TRY(copy_link(from, to, name));
  } else if (::mknodat(to, name, status.st_mode, status.st_rdev) < 0) {
    return fail_errno("copy the node '" + std::string(name) + "'");
  }
  if (::fchownat(to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) < 0 || (!S_ISLNK(status.st_mode) && ::fchmodat(to, name, status.st_mode & 07777, 0) < 0)) {
    return fail_errno("set owner and mode of '" + std::string(name) + "'");
  }
  const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
  ::utimensat(to, name, times.data(), AT_SYMLINK_NOFOLLOW);
  return {};
}

Status copy_below(int from, int to, int depth) {
  if (depth > kMaxDepth) {
    return fail(ELOOP, "copy a tree", "it is deeper than " + std::to_string(kMaxDepth) + " directories");
  }
  const int again = ::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, DirectoryCloser> stream(again < 0 ? nullptr : ::fdopendir(again));
  if (stream == nullptr) {
    return fail_errno("read a directory");
  }
  while (const dirent* entry = ::readdir(stream.get())) {
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..") {
      TRY(copy_entry(from, to, entry->d_name, depth));
    }
  }
  return {};
}

}  // namespace

Status copy_tree_below(int from, int to) { return copy_below(from, to, 0); }

}  // namespace strata
