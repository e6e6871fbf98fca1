#include "kernel_files.h"

#include <linux/magic.h>
#include <sys/vfs.h>

namespace strata {

namespace {

constexpr long kMqueueMagic = 0x19800202;
constexpr long kConfigfsMagic = 0x62656570;
constexpr long kFusectlMagic = 0x65735543;

}  // namespace

bool is_of_kernel(int node) {
  struct statfs status;
  if (::fstatfs(node, &status) != 0) {
    return false;
  }
  switch (static_cast<long>(status.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
    case NSFS_MAGIC:
    case PSTOREFS_MAGIC:
    case EFIVARFS_MAGIC:
    case kMqueueMagic:
    case kConfigfsMagic:
    case kFusectlMagic:
      return true;
    default:
      return false;
  }
}

}  // namespace strata
