// The system calls that open, make and mount, behind one seam: the real one retries EINTR, sets O_CLOEXEC and turns errno into an
// Error; tests put a fake in its place that records calls and fails at a chosen step.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/unique_fd.h"

namespace strata {

// For paths that a container or an image could have shaped: absolute links and ".." stay below `dir`, /proc's magic links are refused.
inline constexpr std::uint64_t kResolveInRoot = 0x10 /* RESOLVE_IN_ROOT */ | 0x02 /* RESOLVE_NO_MAGICLINKS */;
inline constexpr std::uint64_t kNoSymlinks = 0x04;  // RESOLVE_NO_SYMLINKS
inline constexpr std::uint64_t kNoMountPoints = 0x01;  // RESOLVE_NO_XDEV

struct MountAttributes {
  std::uint64_t set = 0;          // MOUNT_ATTR_*
  std::uint64_t clear = 0;        // MOUNT_ATTR_*
  std::uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0: as it is
  int user_namespace = -1;        // with MOUNT_ATTR_IDMAP
  bool recursive = false;
};

class Sys {
 public:
  Sys() = default;
  Sys(const Sys&) = delete;
  Sys& operator=(const Sys&) = delete;
  virtual ~Sys() = default;

  // openat2(2); O_CLOEXEC is added. `resolve` 0 is for paths that only the administrator shapes.
  virtual Result<UniqueFd> open_at(int dir, const std::string& path, int flags, mode_t mode, std::uint64_t resolve) = 0;
  virtual Result<struct stat> stat_fd(int fd) = 0;
  virtual Result<long> file_system_of(int fd) = 0;  // *_SUPER_MAGIC of <linux/magic.h>
  virtual Status make_directory(int dir, const std::string& name, mode_t mode) = 0;
  virtual Status make_node(int dir, const std::string& name, mode_t mode, dev_t device) = 0;
  virtual Status make_symlink(const std::string& target, int dir, const std::string& name) = 0;
  virtual Status change_owner(int dir, const std::string& name, uid_t uid, gid_t gid) = 0;
  virtual Status write_file(int dir, const std::string& path, const std::string& text, std::uint64_t resolve) = 0;

  // mount(2) on the directory `dir` itself, whatever its name is by now: fchdir(dir), then mount on ".". Two calls where
  // fsopen, fsconfig..., fsmount and move_mount would be six. Changes the working directory.
  virtual Status mount_on(int dir, const std::string& type, const std::string& source, unsigned long flags, const std::string& data) = 0;
  virtual Result<UniqueFd> clone_tree(int dir, const std::string& path, bool recursive) = 0;
  virtual Status set_attributes(int mount, const MountAttributes& attributes) = 0;
  virtual Status attach(int mount, int target) = 0;

  virtual Result<UniqueFd> fs_open(const std::string& type) = 0;
  virtual Status fs_set_flag(int context, const std::string& key) = 0;
  virtual Status fs_set_string(int context, const std::string& key, const std::string& value) = 0;
  virtual Status fs_set_fd(int context, const std::string& key, int fd) = 0;
  virtual Status fs_create(int context) = 0;
  virtual Result<UniqueFd> fs_mount(int context, std::uint64_t attributes) = 0;
};

// Stateless; the kernel itself.
Sys& real_sys();

}  // namespace strata
