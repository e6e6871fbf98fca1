#include "runtime/own_binary.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sys.h"

namespace strata::runtime {
namespace {

constexpr char kOwnFile[] = "/proc/self/exe";

// Of root, and writable for root alone: no id of a container that a user makes is that.
bool belongs_to_root_alone(const struct stat& file) { return file.st_uid == 0 && (file.st_mode & (S_IWGRP | S_IWOTH)) == 0; }

// A copy in memory that can never be written again.
Outcome<UniqueFd> sealed_copy() {
  const UniqueFd own(::open(kOwnFile, O_RDONLY | O_CLOEXEC));
  UniqueFd copy(::memfd_create("strata-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  struct stat file {};
  if (!own || !copy || ::fstat(own.get(), &file) < 0 || ::fchmod(copy.get(), 0755) < 0) {
    return refuse_errno(ErrorCode::kInternal, "copy the runtime's own file");
  }
  for (off_t at = 0; at < file.st_size;) {
    if (::sendfile(copy.get(), own.get(), &at, static_cast<std::size_t>(file.st_size - at)) <= 0) {
      return refuse_errno(ErrorCode::kInternal, "copy the runtime's own file");
    }
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    return refuse_errno(ErrorCode::kInternal, "seal the copy of the runtime's own file");
  }
  return copy;
}

bool is_sealed() {
  const UniqueFd own(::open(kOwnFile, O_RDONLY | O_CLOEXEC));
  const int seals = own ? ::fcntl(own.get(), F_GET_SEALS) : -1;
  return seals >= 0 && (seals & F_SEAL_WRITE) != 0;
}

}  // namespace

Outcome<UniqueFd> open_own_file() {
  UniqueFd file(::open(kOwnFile, O_PATH | O_CLOEXEC));
  if (!file) {
    return refuse_errno(ErrorCode::kInternal, "open the runtime's own file");
  }
  return file;
}

Done run_from_read_only_mount(char* const* argv) {
  struct statvfs mount {};
  if (::statvfs(kOwnFile, &mount) < 0) {
    return refuse_errno(ErrorCode::kInternal, "look at the runtime's own file");
  }
  if ((mount.f_flag & ST_RDONLY) != 0) {
    return {};
  }
  UniqueFd copy(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, kOwnFile, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (!copy || ::syscall(SYS_mount_setattr, copy.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) {
    struct stat file {};
    if (errno != EPERM || ::stat(kOwnFile, &file) < 0) {
      return refuse_errno(ErrorCode::kKernelFeatureMissing, "mount the runtime's own file read-only", "it takes mount_setattr(2), Linux 5.12");
    }
    // Without the right to mount.
    if ((::geteuid() != 0 && belongs_to_root_alone(file)) || is_sealed()) {
      return {};
    }
    copy = TRY(sealed_copy());
  }
  ::syscall(SYS_execveat, copy.get(), "", argv, environ, AT_EMPTY_PATH);
  return refuse_errno(ErrorCode::kInternal, "execute the runtime from its read-only mount");
}

}  // namespace strata::runtime
