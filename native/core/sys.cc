#include "core/sys.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <array>

// Raw system calls throughout: glibc has wrappers for the mount API only since 2.36, and <sys/mount.h> clashes with <linux/mount.h>.

namespace strata {
namespace {

constexpr unsigned int kOpenTreeClone = 1;
constexpr unsigned int kAtRecursive = 0x8000;
constexpr unsigned int kMoveEmptyPaths = 0x4 /* F_EMPTY_PATH */ | 0x40 /* T_EMPTY_PATH */;

template <typename Call>
long retry(Call call) {
  long result = 0;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

Status check(long result, const char* verb, const std::string& object) {
  if (result < 0) {
    return fail_errno(std::string(verb) + " '" + object + "'");
  }
  return {};
}

Result<UniqueFd> check_fd(long result, const char* verb, const std::string& object) {
  if (result < 0) {
    return fail_errno(std::string(verb) + " '" + object + "'");
  }
  return UniqueFd(static_cast<int>(result));
}

// What the file system wrote into the context's log says more than the errno ("overlay: upper fs does not support ...").
std::string context_log(int context) {
  std::array<char, 512> text{};
  const ssize_t count = ::read(context, text.data(), text.size());
  if (count <= 2) {
    return {};
  }
  std::string line(text.data() + 2, static_cast<std::size_t>(count - 2));
  while (!line.empty() && line.back() == '\n') {
    line.pop_back();
  }
  return line;
}

class RealSys final : public Sys {
 public:
  Result<UniqueFd> open_at(int dir, const std::string& path, int flags, mode_t mode, std::uint64_t resolve) override {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
    how.mode = mode;
    how.resolve = resolve;
    // EAGAIN: a rename somewhere made the kernel give up on a ".." below RESOLVE_IN_ROOT; it asks to be called again.
    long fd = 0;
    for (int attempt = 0; attempt < 64; ++attempt) {
      fd = retry([&] { return ::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how); });
      if (fd >= 0 || errno != EAGAIN) {
        break;
      }
    }
    return check_fd(fd, "open", path);
  }

  Result<struct stat> stat_fd(int fd) override {
    struct stat status {};
    if (::fstat(fd, &status) < 0) {
      return fail_errno("stat a descriptor");
    }
    return status;
  }

  Result<long> file_system_of(int fd) override {
    struct statfs status {};
    if (::fstatfs(fd, &status) < 0) {
      return fail_errno("look at the file system of a descriptor");
    }
    return static_cast<long>(status.f_type);
  }

  Status make_directory(int dir, const std::string& name, mode_t mode) override {
    return check(::mkdirat(dir, name.c_str(), mode), "make directory", name);
  }
  Status make_node(int dir, const std::string& name, mode_t mode, dev_t device) override {
    return check(::mknodat(dir, name.c_str(), mode, device), "make node", name);
  }
  Status make_symlink(const std::string& target, int dir, const std::string& name) override {
    return check(::symlinkat(target.c_str(), dir, name.c_str()), "make link", name);
  }
  Status change_owner(int dir, const std::string& name, uid_t uid, gid_t gid) override {
    return check(::fchownat(dir, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW), "change owner of", name);
  }

  Status write_file(int dir, const std::string& path, const std::string& text, std::uint64_t resolve) override {
    const UniqueFd file = TRY(open_at(dir, path, O_WRONLY | O_NOCTTY, 0, resolve));
    const long count = retry([&] { return ::write(file.get(), text.data(), text.size()); });
    return check(count, "write", path);
  }

  Status mount_on(int dir, const std::string& type, const std::string& source, unsigned long flags, const std::string& data) override {
    if (::fchdir(dir) < 0) {
      return fail_errno("enter the mount point of '" + type + "'");
    }
    const long result = ::syscall(SYS_mount, source.c_str(), ".", type.c_str(), flags, data.empty() ? nullptr : data.c_str());
    return check(result, "mount", type);
  }

  Result<UniqueFd> clone_tree(int dir, const std::string& path, bool recursive) override {
    unsigned int flags = kOpenTreeClone | O_CLOEXEC | (recursive ? kAtRecursive : 0U);
    if (path.empty()) {
      flags |= AT_EMPTY_PATH;
    }
    return check_fd(::syscall(SYS_open_tree, dir, path.c_str(), flags), "clone the mount of", path);
  }

  Status set_attributes(int mount, const MountAttributes& attributes) override {
    mount_attr attr{};
    attr.attr_set = attributes.set;
    attr.attr_clr = attributes.clear;
    attr.propagation = attributes.propagation;
    if (attributes.user_namespace >= 0) {
      attr.userns_fd = static_cast<std::uint64_t>(attributes.user_namespace);
    }
    const unsigned int flags = AT_EMPTY_PATH | (attributes.recursive ? kAtRecursive : 0U);
    if (::syscall(SYS_mount_setattr, mount, "", flags, &attr, sizeof attr) < 0) {
      return fail_errno("change mount attributes", errno == ENOSYS ? "mount_setattr(2) needs Linux 5.12" : "");
    }
    return {};
  }

  Status attach(int mount, int target) override {
    if (::syscall(SYS_move_mount, mount, "", target, "", kMoveEmptyPaths) < 0) {
      return fail_errno("attach a mount");
    }
    return {};
  }

  Result<UniqueFd> fs_open(const std::string& type) override {
    return check_fd(::syscall(SYS_fsopen, type.c_str(), 1 /* FSOPEN_CLOEXEC */), "open file system", type);
  }
  Status fs_set_flag(int context, const std::string& key) override {
    return configure(context, FSCONFIG_SET_FLAG, key, nullptr, 0);
  }
  Status fs_set_string(int context, const std::string& key, const std::string& value) override {
    return configure(context, FSCONFIG_SET_STRING, key, value.c_str(), 0);
  }
  Status fs_set_fd(int context, const std::string& key, int fd) override {
    return configure(context, FSCONFIG_SET_FD, key, nullptr, fd);
  }
  Status fs_create(int context) override {
    if (::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
      const int errno_value = errno;
      return fail(errno_value, "create the file system", context_log(context));
    }
    return {};
  }
  Result<UniqueFd> fs_mount(int context, std::uint64_t attributes) override {
    return check_fd(::syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, static_cast<unsigned int>(attributes)), "mount", "the file system");
  }

 private:
  static Status configure(int context, unsigned int command, const std::string& key, const char* value, int extra) {
    if (::syscall(SYS_fsconfig, context, command, key.c_str(), value, extra) < 0) {
      const int errno_value = errno;
      return fail(errno_value, "set file system option '" + key + "'", context_log(context));
    }
    return {};
  }
};

}  // namespace

Sys& real_sys() {
  static RealSys sys;
  return sys;
}

}  // namespace strata
