#include "runtime/overlay.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sched.h>

#include "core/path.h"

namespace strata::runtime {
namespace {

// Acts on the file system as the container's root for a while: overlayfs keeps the credentials of its mounter and uses them for everything it does
// in its layers. Changing the fsuid drops the effective capabilities of the file system, which creating the mount needs: they are raised again.
class ActAsRootOf {
 public:
  explicit ActAsRootOf(const RootIdentity& root) : active_(root.user_namespace >= 0) {
    if (active_) {
      ::setfsgid(root.gid);
      ::setfsuid(root.uid);
      raise_capabilities();
    }
  }
  ActAsRootOf(const ActAsRootOf&) = delete;
  ActAsRootOf& operator=(const ActAsRootOf&) = delete;
  ~ActAsRootOf() {
    if (active_) {
      ::setfsuid(0);
      ::setfsgid(0);
      raise_capabilities();
    }
  }

 private:
  static void raise_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (::syscall(SYS_capget, &header, data) == 0) {
      data[0].effective = data[0].permitted;
      data[1].effective = data[1].permitted;
      ::syscall(SYS_capset, &header, data);
    }
  }
  bool active_;
};

struct Layers {
  std::vector<UniqueFd> lower;
  UniqueFd upper, work;
  std::vector<UniqueFd> mounts;  // id-mapped clones that the others are opened below
};

std::string fd_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Outcome<UniqueFd> open_layer(Sys& sys, const std::string& path) {
  return classify(sys.open_at(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0), ErrorCode::kMountFailed, "open a layer", path);
}

Outcome<UniqueFd> clone_mapped(Sys& sys, const std::string& path, const RootIdentity& root) {
  UniqueFd clone = TRY(classify(sys.clone_tree(AT_FDCWD, path, false), ErrorCode::kMountFailed, "clone a layer's mount", path));
  MountAttributes attributes;
  attributes.set = MOUNT_ATTR_IDMAP;
  attributes.user_namespace = root.user_namespace;
  attributes.propagation = MS_PRIVATE;
  auto mapped = sys.set_attributes(clone.get(), attributes);
  if (!mapped) {
    Error error = std::move(mapped).error();
    error.hint = "the file system below must support id-mapped mounts (ext4, xfs and btrfs do; tmpfs since Linux 6.3)";
    const ErrorCode code = error.errno_value == EINVAL || error.errno_value == EOPNOTSUPP ? ErrorCode::kKernelFeatureMissing : ErrorCode::kMountFailed;
    return std::unexpected(Failure(code, std::move(error).within("id-map '" + path + "'"), path));
  }
  return clone;
}

// A tmpfs in a mount namespace of the supervisor's own, where clones can be attached: before Linux 6.13 or so overlayfs refuses layers that are on
// detached id-mapped mounts (EINVAL). The namespace stays with the supervisor; what the host mounts or unmounts later still reaches it.
Status attach_privately(Sys& sys, const std::vector<UniqueFd>& mounts, const std::string& place_path) {
  if (::unshare(CLONE_NEWNS) < 0) {
    return fail_errno("make a private mount namespace");
  }
  if (::syscall(SYS_mount, "", "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0) {
    return fail_errno("make the mounts slaves");
  }
  if (auto made = sys.make_directory(AT_FDCWD, place_path, 0700); !made && made.error().errno_value != EEXIST) {
    return made;
  }
  const UniqueFd mount_point = TRY(sys.open_at(AT_FDCWD, place_path, O_PATH | O_DIRECTORY, 0, 0));
  const UniqueFd context = TRY(sys.fs_open("tmpfs"));
  TRY(sys.fs_create(context.get()));
  const UniqueFd place = TRY(sys.fs_mount(context.get(), 0));
  TRY(sys.attach(place.get(), mount_point.get()));
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string name = std::to_string(i);
    TRY(sys.make_directory(place.get(), name, 0755));
    const UniqueFd target = TRY(sys.open_at(place.get(), name, O_PATH | O_DIRECTORY, 0, 0));
    TRY(sys.attach(mounts[i].get(), target.get()));
  }
  return {};
}

Outcome<Layers> open_layers(Sys& sys, const OverlayParams& params, const RootIdentity& root) {
  Layers layers;
  if (root.user_namespace < 0) {
    for (const std::string& path : params.lower) {
      layers.lower.push_back(TRY(open_layer(sys, path)));
    }
    if (!params.upper.empty()) {
      layers.upper = TRY(open_layer(sys, params.upper));
      layers.work = TRY(open_layer(sys, params.work));
    }
    return layers;
  }
  for (const std::string& path : params.lower) {
    layers.lower.push_back(TRY(clone_mapped(sys, path, root)));
  }
  if (params.upper.empty()) {
    return layers;
  }
  // upper and work have to be on one mount: the clone is of the directory that holds both.
  const SplitPath upper = split_path(params.upper);
  const SplitPath work = split_path(params.work);
  if (upper.parent != work.parent) {
    return refuse(ErrorCode::kInvalidRequest, "overlay.upper and overlay.work must lie in one directory where the container has a user namespace");
  }
  UniqueFd holder = TRY(clone_mapped(sys, upper.parent, root));
  layers.upper = TRY(classify(sys.open_at(holder.get(), upper.name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, 0), ErrorCode::kMountFailed, "open upper", params.upper));
  layers.work = TRY(classify(sys.open_at(holder.get(), work.name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, 0), ErrorCode::kMountFailed, "open work", params.work));
  layers.mounts.push_back(std::move(holder));
  return layers;
}

// Three generations of overlayfs: layers by descriptor (O_PATH ones since Linux 6.14 or so), one by one by path (6.8), in one string. The string is
// limited to 255 bytes, so the supervisor steps into /proc/self/fd, where a layer's name is its number: 60 layers and more fit.
enum class LayerStyle { kDescriptors, kPaths, kOneString };

Status set_lower(Sys& sys, int context, const Layers& layers, LayerStyle style) {
  if (style == LayerStyle::kOneString) {
    std::string names;
    for (const UniqueFd& lower : layers.lower) {
      names += (names.empty() ? "" : ":") + std::to_string(lower.get());
    }
    if (names.size() > 255) {
      return fail(EINVAL, "pass " + std::to_string(layers.lower.size()) + " layers to overlayfs", "this kernel takes some 60 layers; Linux 6.8 and later take 500");
    }
    return sys.fs_set_string(context, "lowerdir", names);
  }
  for (const UniqueFd& lower : layers.lower) {
    TRY(style == LayerStyle::kDescriptors ? sys.fs_set_fd(context, "lowerdir+", lower.get()) : sys.fs_set_string(context, "lowerdir+", fd_path(lower.get())));
  }
  return {};
}

Status set_layers(Sys& sys, int context, const Layers& layers, LayerStyle style) {
  TRY(set_lower(sys, context, layers, style));
  if (!layers.upper) {
    return {};
  }
  TRY(sys.fs_set_string(context, "upperdir", fd_path(layers.upper.get())));
  return sys.fs_set_string(context, "workdir", fd_path(layers.work.get()));
}

// Whatever the module's defaults are: an upper whose files and directories have their content in layers below could not become a layer of another image.
Status forbid_references(Sys& sys, int context) {
  TRY(sys.fs_set_string(context, "redirect_dir", "off"));
  TRY(sys.fs_set_string(context, "metacopy", "off"));
  return sys.fs_set_string(context, "index", "off");
}

Result<UniqueFd> create_in_style(Sys& sys, const OverlayParams& params, const RootIdentity& root, const Layers& layers, LayerStyle style) {
  const UniqueFd context = TRY(sys.fs_open("overlay"));
  TRY(sys.fs_set_string(context.get(), "source", "overlay"));
  if (::chdir("/proc/self/fd") < 0) {
    return fail_errno("enter '/proc/self/fd'");
  }
  auto configured = set_layers(sys, context.get(), layers, style);
  if (configured) {
    configured = forbid_references(sys, context.get());
  }
  if (configured && params.is_volatile) {
    // Kernels before 5.10 do not know it; it only saves time.
    static_cast<void>(sys.fs_set_flag(context.get(), "volatile"));
  }
  if (configured) {
    const ActAsRootOf identity(root);
    configured = sys.fs_create(context.get());
  }
  if (::chdir("/") < 0) {
    return fail_errno("enter '/'");
  }
  TRY(std::move(configured));
  return sys.fs_mount(context.get(), params.is_read_only || !layers.upper ? MOUNT_ATTR_RDONLY : 0);
}

// A kernel may refuse a style when the option is set or, before Linux 6.5, only when the file system is created.
Result<UniqueFd> create_overlay(Sys& sys, const OverlayParams& params, const RootIdentity& root, const Layers& layers) {
  Result<UniqueFd> overlay;
  for (const LayerStyle style : {LayerStyle::kDescriptors, LayerStyle::kPaths, LayerStyle::kOneString}) {
    overlay = create_in_style(sys, params, root, layers, style);
    if (overlay || (overlay.error().errno_value != EINVAL && overlay.error().errno_value != EBADF)) {
      break;
    }
  }
  return overlay;
}

}  // namespace

Outcome<UniqueFd> make_overlay(Sys& sys, const OverlayParams& params, const RootIdentity& root, const std::string& private_place) {
  const Layers layers = TRY(open_layers(sys, params, root));
  auto overlay = create_overlay(sys, params, root, layers);
  if (!overlay && overlay.error().errno_value == EINVAL && root.user_namespace >= 0) {
    std::vector<UniqueFd> mounts;
    for (const auto* list : {&layers.lower, &layers.mounts}) {
      for (const UniqueFd& mount : *list) {
        mounts.emplace_back(::fcntl(mount.get(), F_DUPFD_CLOEXEC, 3));
      }
    }
    TRY(classify(attach_privately(sys, mounts, private_place), ErrorCode::kMountFailed, "attach the id-mapped layers"));
    overlay = create_overlay(sys, params, root, layers);
  }
  if (!overlay && overlay.error().errno_value == ENODEV) {
    return refuse(ErrorCode::kKernelFeatureMissing, "mount the overlay", ENODEV, "the kernel has no overlay file system: modprobe overlay, or build it in");
  }
  if (!overlay && overlay.error().errno_value == EBUSY && overlay.error().hint.empty()) {
    overlay.error().hint = "upper or work is in use by another mount";
  }
  return classify(std::move(overlay), ErrorCode::kMountFailed, "mount the overlay", params.upper);
}

void release_private_place(const std::string& private_place) {
  ::syscall(SYS_umount2, private_place.c_str(), 2 /* MNT_DETACH */);
  ::rmdir(private_place.c_str());
}

Outcome<UniqueFd> make_bound_root(Sys& sys, const std::string& path, const RootIdentity& root, std::uint64_t propagation) {
  if (path.empty() || path.front() != '/') {
    return refuse(ErrorCode::kInvalidRequest, "root.path must be an absolute path where no overlay is given");
  }
  if (root.user_namespace >= 0) {
    return clone_mapped(sys, path, root);
  }
  UniqueFd clone = TRY(classify(sys.clone_tree(AT_FDCWD, path, true), ErrorCode::kMountFailed, "clone the root", path));
  MountAttributes attributes;
  attributes.propagation = propagation != 0 ? propagation : MS_PRIVATE;
  attributes.recursive = true;
  TRY(classify(sys.set_attributes(clone.get(), attributes), ErrorCode::kMountFailed, "set the propagation of the root", path));
  return clone;
}

}  // namespace strata::runtime
