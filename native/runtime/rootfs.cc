#include "runtime/rootfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "core/path.h"
#include "core/tree_copy.h"
#include "runtime/trace.h"

namespace strata::runtime {
namespace {

const std::string kProc = "/proc";
const std::string kKernelCore = "/proc/kcore";
constexpr int kDetach = 2;  // MNT_DETACH; <sys/mount.h> clashes with <linux/mount.h>

class PlanRunner {
 public:
  PlanRunner(Sys& sys, int root, const std::vector<UniqueFd>& binds) : sys_(sys), root_(root), binds_(binds) {}

  Done run(const MountStep& step) {
    if (step.kind != MountStep::Kind::kNode && step.kind != MountStep::Kind::kLink) {
      parent_.reset();  // it may be covered by what this step mounts
    }
    switch (step.kind) {
      case MountStep::Kind::kFilesystem: return wrap(mount_filesystem(step), step);
      case MountStep::Kind::kBind: return wrap(attach_bind(step), step);
      case MountStep::Kind::kPropagation: return wrap(set_propagation(step), step);
      case MountStep::Kind::kAttributes: return wrap(set_everywhere(step), step);
      case MountStep::Kind::kNode: return wrap(make_node(step), step);
      case MountStep::Kind::kLink: return wrap(make_link(step), step);
      case MountStep::Kind::kSysctl: return wrap(write_sysctl(step), step);
      case MountStep::Kind::kReadOnlyMount:
      case MountStep::Kind::kReadOnlyRoot: return wrap(make_read_only(step), step);
      case MountStep::Kind::kMask: return wrap(mask(step), step);
      case MountStep::Kind::kReadOnlyPath: return wrap(bind_read_only(step), step);
      case MountStep::Kind::kWorkingDirectory: return classify(make_working_directory(step), ErrorCode::kWorkingDirectory, name_of(step), step.target);
    }
    return refuse(ErrorCode::kInternal, "unknown step of the mount plan");
  }

 private:
  static Done wrap(Status status, const MountStep& step) {
    if (status) {
      return {};
    }
    return classify(std::move(status), ErrorCode::kMountFailed, name_of(step), step.target);
  }

 public:
  static std::string name_of(const MountStep& step) {
    std::string context;
    switch (step.kind) {
      case MountStep::Kind::kFilesystem: context = "mount " + step.type + " on '" + step.target + "'"; break;
      case MountStep::Kind::kBind: context = "bind on '" + step.target + "'"; break;
      case MountStep::Kind::kNode:
      case MountStep::Kind::kLink: context = "make '" + step.target + "'"; break;
      case MountStep::Kind::kWorkingDirectory: context = "make the working directory '" + step.target + "'"; break;
      case MountStep::Kind::kSysctl: context = "set sysctl '" + step.target + "'"; break;
      case MountStep::Kind::kMask: context = "mask '" + step.target + "'"; break;
      case MountStep::Kind::kPropagation:
      case MountStep::Kind::kAttributes:
      case MountStep::Kind::kReadOnlyMount:
      case MountStep::Kind::kReadOnlyRoot:
      case MountStep::Kind::kReadOnlyPath: context = "restrict '" + step.target + "'"; break;
    }
    return context;
  }

 private:
  Status mount_filesystem(const MountStep& step) {
    const bool of_kernel = step.type == "proc" || step.type == "sysfs";
    if (of_kernel) {
      // An image whose /proc is a link would move what the masks below /proc are for (CVE-2019-19921, CVE-2023-27561).
      if (auto direct = sys_.open_at(root_, step.target, O_PATH | O_DIRECTORY, 0, kResolveInRoot | kNoSymlinks); !direct && direct.error().errno_value != ENOENT) {
        Error error = std::move(direct).error();
        error.hint = error.errno_value == ELOOP ? "a symbolic link of the image is in the mount point's path" : "";
        return std::unexpected(std::move(error));
      }
    }
    const std::string data = step.type == "tmpfs" && !step.copy_up ? TRY(with_mode_of_target(step)) : step.data;
    const UniqueFd target = TRY(open_mount_point(step.target, true));
    if (!step.copy_up) {
      TRY(sys_.mount_on(target.get(), step.type, step.source, step.flags, data));
      return step.target == kProc ? hold_proc() : Status();
    }
    const UniqueFd before = TRY(sys_.open_at(target.get(), ".", O_RDONLY | O_DIRECTORY, 0, 0));
    const struct stat status = TRY(sys_.stat_fd(before.get()));
    TRY(sys_.mount_on(target.get(), step.type, step.source, step.flags, step.data));
    const UniqueFd mounted = TRY(sys_.open_at(root_, step.target, O_RDONLY | O_DIRECTORY, 0, kResolveInRoot));
    TRY(copy_tree_below(before.get(), mounted.get()));
    // As runc: the mount looks like the directory did, unless the options say how it looks.
    if (step.data.find("mode=") == std::string::npos && ::fchmod(mounted.get(), status.st_mode & 07777) < 0) {
      return fail_errno("set the mode of the copy");
    }
    return {};
  }

  // As runc: a tmpfs looks like the directory that it covers, unless the options say how it looks.
  Result<std::string> with_mode_of_target(const MountStep& step) {
    if (step.data.find("mode=") != std::string::npos) {
      return step.data;
    }
    auto covered = sys_.open_at(root_, step.target, O_PATH | O_DIRECTORY, 0, kResolveInRoot);
    if (!covered) {
      return covered.error().errno_value == ENOENT ? Result<std::string>(step.data) : std::unexpected(std::move(covered).error());  // it is made now
    }
    const struct stat status = TRY(sys_.stat_fd(covered->get()));
    char mode[16];
    std::snprintf(mode, sizeof mode, "mode=%04o", status.st_mode & 07777U);
    return mode + (step.data.empty() ? "" : "," + step.data);
  }

  Status set_everywhere(const MountStep& step) {
    const UniqueFd target = TRY(open_below(sys_, root_, step.target));
    MountAttributes attributes;
    attributes.set = step.set;
    attributes.clear = step.cleared;
    attributes.recursive = true;
    return sys_.set_attributes(target.get(), attributes);
  }

  Status attach_bind(const MountStep& step) {
    if (step.index >= binds_.size()) {
      return fail(EBADF, "find the source of the bind");
    }
    const int bind = binds_[step.index].get();
    const struct stat source = TRY(sys_.stat_fd(bind));
    if (step.type == "proc" && TRY(sys_.file_system_of(bind)) != PROC_SUPER_MAGIC) {
      return fail(EPERM, "use the source of the bind", "only a procfs may stand in for /proc or what is below it");
    }
    const UniqueFd target = TRY(open_mount_point(step.target, S_ISDIR(source.st_mode)));
    TRY(sys_.attach(bind, target.get()));
    return step.target == kProc ? hold_proc() : Status();
  }

  // From here on "/proc/..." is looked up below this descriptor, whatever an image or a container that shares files moves to where /proc was
  // (CVE-2025-52881).
  Status hold_proc() {
    proc_ = TRY(sys_.open_at(root_, kProc, O_PATH | O_DIRECTORY, 0, kResolveInRoot | kNoSymlinks));
    if (TRY(sys_.file_system_of(proc_.get())) != PROC_SUPER_MAGIC) {
      return fail(ENODEV, "use the container's '/proc'", "it is no procfs");
    }
    return {};
  }

  Result<UniqueFd> open_target(const std::string& path) {
    return proc_ && path.starts_with("/proc/") ? open_below(sys_, proc_.get(), path.substr(kProc.size())) : open_below(sys_, root_, path);
  }

  Result<UniqueFd> open_mount_point(const std::string& path, bool directory) {
    if (proc_ && path.starts_with("/proc/")) {
      return open_target(path);
    }
    UniqueFd target = TRY(directory ? open_or_make_directory(sys_, root_, path) : open_or_make_file(sys_, root_, path));
    // A link of an image must not lead a volume into /proc, which the plan has refused by name (CVE-2019-16884).
    if (TRY(sys_.file_system_of(target.get())) == PROC_SUPER_MAGIC) {
      TRY(sys_.open_at(root_, path, O_PATH, 0, kResolveInRoot | kNoSymlinks));
    }
    return target;
  }

  Status write_sysctl(const MountStep& step) {
    if (!proc_) {
      return fail(ENOENT, "write '" + step.target + "'", "the container has no mount on /proc");
    }
    return sys_.write_file(proc_.get(), step.target.substr(kProc.size() + 1), step.source, kResolveInRoot | kNoSymlinks | kNoMountPoints);
  }

  Status set_propagation(const MountStep& step) {
    const UniqueFd target = TRY(open_below(sys_, root_, step.target));
    MountAttributes attributes;
    attributes.recursive = (step.flags & MS_REC) != 0;
    attributes.propagation = step.flags & ~static_cast<unsigned long>(MS_REC);
    return sys_.set_attributes(target.get(), attributes);
  }

  // Nodes and links come in a row, nearly all of them in /dev: one descriptor serves the row.
  Result<int> enter_parent(const std::string& path) {
    if (!parent_ || path != parent_path_) {
      parent_ = TRY(open_or_make_directory(sys_, root_, path));
      parent_path_ = path;
    }
    return parent_.get();
  }

  Status make_node(const MountStep& step) {
    const SplitPath split = split_path(step.target);
    const int parent = TRY(enter_parent(split.parent));
    if (auto made = sys_.make_node(parent, split.name, step.mode, step.device); !made) {
      if (made.error().errno_value != EEXIST) {
        return made;
      }
      // What an image or a volume has there must be the device that is asked for, not a link or another device (CVE-2025-52565).
      const UniqueFd node = TRY(sys_.open_at(parent, split.name, O_PATH | O_NOFOLLOW, 0, kResolveInRoot));
      const struct stat found = TRY(sys_.stat_fd(node.get()));
      if ((found.st_mode & S_IFMT) != (step.mode & S_IFMT) || (!S_ISFIFO(step.mode) && found.st_rdev != step.device)) {
        return fail(EEXIST, "use '" + step.target + "'", "the image or a volume has another thing there than this device");
      }
    }
    return step.uid != 0 || step.gid != 0 ? sys_.change_owner(parent, split.name, step.uid, step.gid) : Status();
  }

  Status make_link(const MountStep& step) {
    // Not every kernel has it.
    if (step.source == kKernelCore && proc_) {
      if (auto there = sys_.open_at(proc_.get(), kKernelCore.substr(kProc.size() + 1), O_PATH | O_NOFOLLOW, 0, kResolveInRoot); !there) {
        return absent(there.error()) ? Status() : Status(std::unexpected(there.error()));
      }
    }
    const SplitPath split = split_path(step.target);
    const int parent = TRY(enter_parent(split.parent));
    auto made = sys_.make_symlink(step.source, parent, split.name);
    // An image with a /dev of its own has some of them; what it has is left alone.
    return !made && made.error().errno_value == EEXIST ? Status() : made;
  }

  Status make_read_only(const MountStep& step) {
    MountAttributes attributes;
    attributes.set = MOUNT_ATTR_RDONLY;
    if (step.kind == MountStep::Kind::kReadOnlyRoot) {
      return sys_.set_attributes(root_, attributes);
    }
    const UniqueFd target = TRY(open_below(sys_, root_, step.target));
    return sys_.set_attributes(target.get(), attributes);
  }

  Status mask(const MountStep& step) {
    auto target = open_target(step.target);
    if (!target) {
      return absent(target.error()) ? Status() : Status(std::unexpected(target.error()));
    }
    const struct stat status = TRY(sys_.stat_fd(target->get()));
    if (S_ISDIR(status.st_mode)) {
      return sys_.mount_on(target->get(), "tmpfs", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=755");
    }
    // An image can bring a /dev of its own: what hides a file has to be the device.
    const UniqueFd device = TRY(open_below(sys_, root_, "/dev/null"));
    // Another one would let the container read what it must not (CVE-2025-31133).
    if (const struct stat found = TRY(sys_.stat_fd(device.get())); !S_ISCHR(found.st_mode) || found.st_rdev != makedev(1, 3)) {
      return fail(ENODEV, "use the container's '/dev/null'", "it is another thing than the null device");
    }
    const UniqueFd null = TRY(sys_.clone_tree(device.get(), "", false));
    return sys_.attach(null.get(), target->get());
  }

  Status bind_read_only(const MountStep& step) {
    auto target = open_target(step.target);
    if (!target) {
      return absent(target.error()) ? Status() : Status(std::unexpected(target.error()));
    }
    const UniqueFd copy = TRY(sys_.clone_tree(target->get(), "", true));
    MountAttributes attributes;
    attributes.set = MOUNT_ATTR_RDONLY;
    attributes.recursive = true;
    TRY(sys_.set_attributes(copy.get(), attributes));
    return sys_.attach(copy.get(), target->get());
  }

  Status make_working_directory(const MountStep& step) {
    auto made = open_or_make_directory(sys_, root_, step.target);
    if (made || absent(made.error())) {
      return {};  // a link to nothing, a file in the way: whoever enters it says so
    }
    const int reason = made.error().errno_value;
    const bool refused = reason == EROFS || reason == EACCES || reason == EPERM || reason == ENOSPC || reason == EDQUOT;
    return refused ? Status(std::unexpected(std::move(made).error())) : Status();
  }

  // What this kernel or image does not have needs no hiding.
  static bool absent(const Error& error) { return error.errno_value == ENOENT || error.errno_value == ENOTDIR; }

  Sys& sys_;
  int root_;
  const std::vector<UniqueFd>& binds_;
  UniqueFd parent_, proc_;
  std::string parent_path_;
};

}  // namespace

Done apply_mount_plan(Sys& sys, int root, const MountPlan& plan, const std::vector<UniqueFd>& binds, const std::function<Done()>& before_sealing) {
  PlanRunner runner(sys, root, binds);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  const auto run = [&](std::size_t from, std::size_t to) -> Done {
    // Devices have the modes that the config says, whatever the caller's mask; the process gets its own before it runs.
    ::umask(0);
    Done done;
    for (std::size_t i = from; done && i < to; ++i) {
      done = runner.run(plan.steps[i]);
      if (trace::is_on()) {
        trace::mark(PlanRunner::name_of(plan.steps[i]));
      }
    }
    ::umask(mask);
    return done;
  };
  TRY(run(0, plan.sealed_from));
  if (before_sealing) {
    TRY(before_sealing());
  }
  return run(plan.sealed_from, plan.steps.size());
}

Done enter_root(Sys& sys, int root) {
  const UniqueFd old_root = TRY(classify(sys.open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0), ErrorCode::kMountFailed));
  TRY(classify(sys.attach(root, old_root.get()), ErrorCode::kMountFailed, "attach the root file system"));
  return pivot_into(root);
}

Done pivot_into(int root) {
  if (::fchdir(root) < 0) {
    return refuse_errno(ErrorCode::kMountFailed, "enter the root file system");
  }
  if (::syscall(SYS_pivot_root, ".", ".") < 0) {
    return refuse_errno(ErrorCode::kMountFailed, "pivot into the root file system");
  }
  return {};
}

Done detach_old_root() {
  // After pivot_root(".", ".") the old root lies over the new one, and "/" names the upper of the two (pivot_root(2), notes).
  if (::chdir("/") < 0 || ::syscall(SYS_umount2, ".", kDetach) < 0 || ::chdir("/") < 0) {
    return refuse_errno(ErrorCode::kMountFailed, "detach the host's root");
  }
  return {};
}

Done enter_empty_root(Sys& sys) {
  const UniqueFd context = TRY(classify(sys.fs_open("tmpfs"), ErrorCode::kMountFailed));
  TRY(classify(sys.fs_set_string(context.get(), "size", "4k"), ErrorCode::kMountFailed));
  TRY(classify(sys.fs_create(context.get()), ErrorCode::kMountFailed, "make the sandbox's empty root"));
  const UniqueFd root = TRY(classify(sys.fs_mount(context.get(), MOUNT_ATTR_RDONLY), ErrorCode::kMountFailed));
  TRY(enter_root(sys, root.get()));
  return detach_old_root();
}

}  // namespace strata::runtime
