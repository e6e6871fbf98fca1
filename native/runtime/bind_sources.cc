#include "runtime/bind_sources.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "runtime/mapping_namespace.h"

namespace strata::runtime {
namespace {

std::string device_name(mode_t type, dev_t device) {
  return std::string(S_ISBLK(type) ? "b" : "c") + " " + std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

// A config names a device by its numbers; what the host has at the path may be another one.
Done check_device(Sys& sys, int mount, const BindSource& bind) {
  if (bind.device_type == 0) {
    return {};
  }
  const struct stat found = TRY(classify(sys.stat_fd(mount), ErrorCode::kMountFailed, "look at the host's '" + bind.path + "'", bind.path));
  if ((found.st_mode & S_IFMT) == bind.device_type && found.st_rdev == bind.device) {
    return {};
  }
  const std::string there = S_ISBLK(found.st_mode) || S_ISCHR(found.st_mode) ? "the device " + device_name(found.st_mode, found.st_rdev) : "no device";
  return refuse(ErrorCode::kMountFailed, "the host's '" + bind.path + "' is " + there + ", not " + device_name(bind.device_type, bind.device), ENODEV,
                "in a user namespace no node can be made: the host's is bound, and has to be what the config says", bind.path);
}

}  // namespace

Outcome<std::vector<UniqueFd>> open_bind_sources(Sys& sys, const std::vector<BindSource>& binds, int user_namespace) {
  if (binds.size() > kMaxBinds) {
    return refuse(ErrorCode::kInvalidRequest, "a container can have " + std::to_string(kMaxBinds) + " bind mounts at most, not " + std::to_string(binds.size()));
  }
  std::vector<UniqueFd> mounts;
  mounts.reserve(binds.size());
  for (const BindSource& bind : binds) {
    UniqueFd mount = TRY(classify(sys.clone_tree(AT_FDCWD, bind.path, bind.recursive), ErrorCode::kMountFailed, "bind from the host", bind.path));
    TRY(check_device(sys, mount.get(), bind));
    MountAttributes attributes;
    attributes.set = bind.attributes;
    attributes.clear = bind.cleared;
    attributes.propagation = bind.propagation;
    UniqueFd own_namespace;
    if (bind.id_mapped && !bind.uid_map.empty()) {
      own_namespace = TRY(make_mapping_namespace(bind.uid_map, bind.gid_map));
    }
    attributes.recursive = bind.recursive;
    if (bind.id_mapped) {
      MountAttributes mapping;
      mapping.set = MOUNT_ATTR_IDMAP;
      mapping.user_namespace = own_namespace ? own_namespace.get() : user_namespace;
      mapping.recursive = bind.everything_id_mapped;
      TRY(classify(sys.set_attributes(mount.get(), mapping), ErrorCode::kMountFailed, "map the ids of a bind mount", bind.path));
    }
    TRY(classify(sys.set_attributes(mount.get(), attributes), ErrorCode::kMountFailed, "set the options of a bind mount", bind.path));
    if (bind.everywhere_set != 0 || bind.everywhere_cleared != 0) {
      MountAttributes everywhere;
      everywhere.set = bind.everywhere_set;
      everywhere.clear = bind.everywhere_cleared;
      everywhere.recursive = true;
      TRY(classify(sys.set_attributes(mount.get(), everywhere), ErrorCode::kMountFailed, "set the recursive options of a bind mount", bind.path));
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

}  // namespace strata::runtime
