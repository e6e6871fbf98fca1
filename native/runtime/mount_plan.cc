#include "runtime/mount_plan.h"

#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <string_view>

namespace strata::runtime {
namespace {

using Kind = MountStep::Kind;

// Linux 5.10 and 5.14; older headers lack them.
constexpr unsigned long kMsNoSymFollow = 256;
constexpr std::uint64_t kAttrNoSymFollow = 0x00200000;

struct OptionMeaning {
  std::string_view name;
  unsigned long set, clear;  // MS_* of mount(2)
};
constexpr OptionMeaning kFlagOptions[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    {"noatime", MS_NOATIME, MS_RELATIME},
    {"atime", 0, MS_NOATIME},
    {"relatime", MS_RELATIME, MS_NOATIME},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
    {"nostrictatime", 0, MS_STRICTATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"nosymfollow", kMsNoSymFollow, 0},
    {"symfollow", 0, kMsNoSymFollow},
    {"lazytime", MS_LAZYTIME, 0},
    {"nolazytime", 0, MS_LAZYTIME},
    {"mand", MS_MANDLOCK, 0},
    {"nomand", 0, MS_MANDLOCK},
    {"iversion", MS_I_VERSION, 0},
    {"noiversion", 0, MS_I_VERSION},
    {"silent", MS_SILENT, 0},
    {"loud", 0, MS_SILENT},
};
// For a mount and all below it (mount_setattr(2)); names as in the spec, "Linux mount options".
struct RecursiveOption {
  std::string_view name;
  std::uint64_t set, clear;  // MOUNT_ATTR_*
};
constexpr RecursiveOption kRecursiveOptions[] = {
    {"rro", MOUNT_ATTR_RDONLY, 0},
    {"rrw", 0, MOUNT_ATTR_RDONLY},
    {"rnosuid", MOUNT_ATTR_NOSUID, 0},
    {"rsuid", 0, MOUNT_ATTR_NOSUID},
    {"rnodev", MOUNT_ATTR_NODEV, 0},
    {"rdev", 0, MOUNT_ATTR_NODEV},
    {"rnoexec", MOUNT_ATTR_NOEXEC, 0},
    {"rexec", 0, MOUNT_ATTR_NOEXEC},
    {"rnodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"rdiratime", 0, MOUNT_ATTR_NODIRATIME},
    {"rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"rnorelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"ratime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"rnostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"rnosymfollow", kAttrNoSymFollow, 0},
    {"rsymfollow", 0, kAttrNoSymFollow},
};
constexpr OptionMeaning kPropagationOptions[] = {
    {"private", MS_PRIVATE, 0},       {"rprivate", MS_PRIVATE | MS_REC, 0}, {"slave", MS_SLAVE, 0},           {"rslave", MS_SLAVE | MS_REC, 0},
    {"shared", MS_SHARED, 0},         {"rshared", MS_SHARED | MS_REC, 0},   {"unbindable", MS_UNBINDABLE, 0}, {"runbindable", MS_UNBINDABLE | MS_REC, 0},
};

template <std::size_t Size>
const OptionMeaning* find_option(const OptionMeaning (&table)[Size], std::string_view name) {
  const auto* const found = std::find_if(std::begin(table), std::end(table), [&](const OptionMeaning& option) { return option.name == name; });
  return found == std::end(table) ? nullptr : found;
}

struct ParsedOptions {
  unsigned long flags = 0, propagation = 0;
  unsigned long cleared = 0;  // what an option took away explicitly
  std::uint64_t everywhere_set = 0, everywhere_cleared = 0;
  bool recursive_bind = false, id_mapped = false, everything_id_mapped = false, copy_up = false;
  std::string data;
};

ParsedOptions parse_options(const std::vector<std::string>& options) {
  ParsedOptions parsed;
  for (const std::string& option : options) {
    if (const OptionMeaning* flag = find_option(kFlagOptions, option)) {
      parsed.flags = (parsed.flags & ~flag->clear) | flag->set;
      parsed.cleared = (parsed.cleared & ~flag->set) | flag->clear;
    } else if (const OptionMeaning* propagation = find_option(kPropagationOptions, option)) {
      parsed.propagation = propagation->set;
    } else if (const auto* const everywhere = std::find_if(std::begin(kRecursiveOptions), std::end(kRecursiveOptions),
                                                           [&](const RecursiveOption& known) { return known.name == option; });
               everywhere != std::end(kRecursiveOptions)) {
      parsed.everywhere_set = (parsed.everywhere_set & ~everywhere->clear) | everywhere->set;
      parsed.everywhere_cleared = (parsed.everywhere_cleared & ~everywhere->set) | everywhere->clear;
    } else if (option == "tmpcopyup") {
      parsed.copy_up = true;
    } else if (option == "rbind") {
      parsed.recursive_bind = true;
    } else if (option == "idmap" || option == "ridmap") {
      parsed.id_mapped = true;
      parsed.everything_id_mapped = option == "ridmap";
    } else if (option != "bind") {
      parsed.data += (parsed.data.empty() ? "" : ",") + option;
    }
  }
  return parsed;
}

// The first of "size=1k,word" that has no value.
std::string first_word(std::string_view data) {
  while (!data.empty()) {
    const std::string_view option = data.substr(0, data.find(','));
    if (option.find('=') == std::string_view::npos) {
      return std::string(option);
    }
    data.remove_prefix(std::min(data.size(), option.size() + 1));
  }
  return {};
}

std::uint64_t attributes_of(unsigned long flags) {
  std::uint64_t attributes = 0;
  attributes |= (flags & MS_RDONLY) != 0 ? MOUNT_ATTR_RDONLY : 0;
  attributes |= (flags & MS_NOSUID) != 0 ? MOUNT_ATTR_NOSUID : 0;
  attributes |= (flags & MS_NODEV) != 0 ? MOUNT_ATTR_NODEV : 0;
  attributes |= (flags & MS_NOEXEC) != 0 ? MOUNT_ATTR_NOEXEC : 0;
  attributes |= (flags & MS_NODIRATIME) != 0 ? MOUNT_ATTR_NODIRATIME : 0;
  attributes |= (flags & MS_NOATIME) != 0 ? MOUNT_ATTR_NOATIME : 0;
  attributes |= (flags & MS_STRICTATIME) != 0 ? MOUNT_ATTR_STRICTATIME : 0;
  attributes |= (flags & kMsNoSymFollow) != 0 ? kAttrNoSymFollow : 0;
  return attributes;
}

// "/a//b/../c" → "/a/c": destinations are compared with /dev below, and ".." has no meaning in a config.
std::string clean_path(const std::string& path) {
  std::vector<std::string_view> parts;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part == "..") {
      if (!parts.empty()) {
        parts.pop_back();
      }
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  std::string clean;
  for (const std::string_view part : parts) {
    clean += '/';
    clean += part;
  }
  return clean.empty() ? "/" : clean;
}

// "net.ipv4.conf.eth0/1.forwarding" and "net/ipv4/conf/eth0.1/forwarding": the separator that comes first is the one (sysctl(8)).
std::string sysctl_path(const std::string& name) {
  std::string path = name;
  if (const std::size_t first = name.find_first_of("./"); first != std::string::npos && name[first] == '.') {
    std::transform(path.begin(), path.end(), path.begin(), [](char letter) { return letter == '.' ? '/' : letter == '/' ? '.' : letter; });
  }
  return path;
}

class PlanBuilder {
 public:
  PlanBuilder(const OciConfig& config, const PlanFacts& facts) : config_(config), facts_(facts) {}

  Outcome<MountPlan> build() {
    for (const OciMount& mount : config_.mounts) {
      TRY(add_mount(mount));
      // Whatever is mounted below /dev later (a bind of /dev/x) has to find it filled.
      if (clean_path(mount.destination) == "/dev" && mount.type != "bind") {
        add_devices();
      }
    }
    if (!devices_added_) {
      const bool bound = std::any_of(config_.mounts.begin(), config_.mounts.end(), [](const OciMount& mount) { return clean_path(mount.destination) == "/dev"; });
      if (!bound) {
        add_devices();
      }
    }
    plan_.sealed_from = plan_.steps.size();
    TRY(add_sysctls());
    for (const std::string& path : config_.read_only_paths) {
      step(Kind::kReadOnlyPath, clean_path(path));
    }
    for (const std::string& path : config_.masked_paths) {
      step(Kind::kMask, clean_path(path));
    }
    if (read_only_dev_) {
      if (config_.process.terminal) {
        step(Kind::kNode, "/dev/console").mode = S_IFREG | 0644;  // what the terminal is bound to
      }
      step(Kind::kReadOnlyMount, "/dev");
    }
    plan_.root_source_propagation = MS_SLAVE;
    if (!config_.rootfs_propagation.empty()) {
      const OptionMeaning* propagation = find_option(kPropagationOptions, config_.rootfs_propagation);
      if (propagation == nullptr) {
        return refuse(ErrorCode::kInvalidRequest, "linux.rootfsPropagation must be private, slave, shared or unbindable, or one of them with r in front");
      }
      plan_.root_propagation = propagation->set;
      if ((propagation->set & MS_SLAVE) == 0) {
        plan_.root_source_propagation = MS_PRIVATE;
      }
    }
    if (config_.process.cwd != "/") {  // not clean_path: in "/link/.." the link counts, as it does for chdir(2)
      step(Kind::kWorkingDirectory, config_.process.cwd);
    }
    if (config_.root_read_only) {
      step(Kind::kReadOnlyRoot, "/");
    }
    return std::move(plan_);
  }

 private:
  MountStep& step(Kind kind, std::string target) {
    MountStep& added = plan_.steps.emplace_back();
    added.kind = kind;
    added.target = std::move(target);
    return added;
  }

  Done add_mount(const OciMount& mount) {
    const std::string target = clean_path(mount.destination);
    if (target == "/") {
      return refuse(ErrorCode::kInvalidRequest, "a mount's destination cannot be '/': that is root.path or the overlay");
    }
    const ParsedOptions options = parse_options(mount.options);
    if (mount.type == "bind") {
      // mode=755 is for a file system, and ignored as mount(2) does: a bind has its source's. A word may be a misspelt one that protects.
      if (const std::string word = first_word(options.data); !word.empty()) {
        return refuse(ErrorCode::kInvalidRequest, "the bind mount on '" + target + "' has the unknown option '" + word + "'");
      }
      if (options.id_mapped && !facts_.user_namespace && mount.uid_map.empty()) {
        return refuse(ErrorCode::kInvalidRequest, "the bind mount on '" + target + "' says idmap, but the container has no user namespace");
      }
      TRY(check_below_proc(target, mount.source));
      add_bind(target, mount.source, options);
      plan_.steps.back().type = target == "/proc" || (target.starts_with("/proc/") && !is_faked(target)) ? "proc" : "";
      plan_.binds.back().id_mapped = options.id_mapped || !mount.uid_map.empty();
      plan_.binds.back().uid_map = mount.uid_map;
      plan_.binds.back().gid_map = mount.gid_map;
      return {};
    }
    TRY(check_below_proc(target, ""));
    if (target == "/proc" && mount.type != "proc") {
      return refuse(ErrorCode::kInvalidRequest, "the mount on '/proc' must be a procfs, not a " + mount.type);
    }
    if (mount.type == "cgroup" || mount.type == "cgroup2") {
      if (!facts_.cgroup_namespace && !facts_.cgroup_path.empty()) {
        bind_cgroups(target, options);
        return {};
      }
      if (!facts_.cgroup_namespace && facts_.without_cgroup) {
        // Its own directories are to be seen there, and it has none.
        add_filesystem(target, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=4k");
        return {};
      }
      if (!facts_.cgroup_namespace) {
        return refuse(ErrorCode::kInvalidRequest, "a cgroup mount needs a cgroup namespace: without one the container would see the host's cgroups");
      }
      add_cgroups(target, options);
      return {};
    }
    if (mount.type == "sysfs" && facts_.user_namespace && facts_.host_network) {
      // The kernel lets only the owner of a network namespace see it anew; what is seen already can be bound.
      add_bind(target, "/sys", options);
      plan_.binds.back().recursive = true;
      return {};
    }
    MountStep& added = step(Kind::kFilesystem, target);
    added.type = mount.type;
    added.source = mount.source.empty() ? mount.type : mount.source;
    added.flags = options.flags;
    added.data = options.data;
    if (target == "/dev" && (added.flags & MS_RDONLY) != 0) {
      added.flags &= ~static_cast<unsigned long>(MS_RDONLY);  // once it is filled
      read_only_dev_ = true;
    }
    if (options.copy_up && mount.type != "tmpfs") {
      return refuse(ErrorCode::kInvalidRequest, "the mount on '" + target + "' says tmpcopyup, which is for tmpfs alone");
    }
    added.copy_up = options.copy_up;
    if (added.copy_up && (added.flags & MS_RDONLY) != 0) {
      added.flags &= ~static_cast<unsigned long>(MS_RDONLY);
      step(Kind::kReadOnlyMount, target);
    }
    if (options.everywhere_set != 0 || options.everywhere_cleared != 0) {
      MountStep& attributes = step(Kind::kAttributes, target);
      attributes.set = options.everywhere_set;
      attributes.cleared = options.everywhere_cleared;
    }
    if (options.propagation != 0) {
      step(Kind::kPropagation, target).flags = options.propagation;
    }
    return {};
  }

  void add_bind(const std::string& target, const std::string& source, const ParsedOptions& options) {
    BindSource bind;
    bind.path = source;
    bind.recursive = options.recursive_bind;
    bind.attributes = attributes_of(options.flags);
    bind.cleared = attributes_of(options.cleared) & ~bind.attributes;
    if ((options.flags & (MS_NOATIME | MS_STRICTATIME)) != 0 || (options.cleared & MS_NOATIME) != 0) {
      bind.cleared = (bind.cleared & ~std::uint64_t{MOUNT_ATTR__ATIME}) | MOUNT_ATTR__ATIME;  // the kernel takes the atime bits as one field
    } else {
      bind.cleared &= ~std::uint64_t{MOUNT_ATTR__ATIME};
    }
    bind.everywhere_set = options.everywhere_set;
    bind.everywhere_cleared = options.everywhere_cleared;
    bind.propagation = options.propagation == 0 ? MS_PRIVATE : options.propagation & ~static_cast<unsigned long>(MS_REC);
    bind.id_mapped = options.id_mapped;
    bind.everything_id_mapped = options.everything_id_mapped;
    step(Kind::kBind, target).index = plan_.binds.size();
    plan_.binds.push_back(std::move(bind));
  }

  // What lies below /proc decides what the container may do to itself and what it is told: nothing of an image or a volume may stand in for it, but the
  // files that lxcfs fakes (as runc; CVE-2019-16884, CVE-2025-52881).
  Done check_below_proc(const std::string& target, const std::string& source) const {
    if (!target.starts_with("/proc/") || is_faked(target) || source.starts_with("/proc/")) {
      return {};
    }
    return refuse(ErrorCode::kInvalidRequest, "a mount on '" + target + "' is inside /proc, which is not allowed");
  }

  static bool is_faked(std::string_view target) {
    static constexpr std::string_view kFaked[] = {"cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid",
                                                  "sys/crypto/fips_enabled", "net/dev"};
    return std::find(std::begin(kFaked), std::end(kFaked), target.substr(std::string_view("/proc/").size())) != std::end(kFaked);
  }

  // Without a cgroup namespace: the container's own directory of every hierarchy, where software of that time expects to find it.
  void bind_cgroups(const std::string& target, const ParsedOptions& options) {
    if (facts_.cgroups == nullptr) {
      return;
    }
    ParsedOptions bound;
    bound.flags = (options.flags & MS_RDONLY) | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (facts_.cgroups->mode() == CgroupMode::kV2) {
      add_bind(target, facts_.cgroups->hierarchies().front().mount_point + facts_.cgroup_path, bound);
      return;
    }
    add_filesystem(target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k,nr_inodes=64");
    for (const CgroupHierarchy& hierarchy : facts_.cgroups->hierarchies()) {
      add_bind(target + "/" + directory_of(hierarchy), hierarchy.mount_point + facts_.cgroup_path, bound);
    }
    if ((options.flags & MS_RDONLY) != 0) {
      step(Kind::kReadOnlyMount, target);
    }
  }

  static std::string directory_of(const CgroupHierarchy& hierarchy) {
    if (hierarchy.unified) {
      return "unified";
    }
    std::string controllers;
    for (const std::string& controller : hierarchy.controllers) {
      controllers += (controllers.empty() ? "" : ",") + controller;
    }
    return controllers.starts_with("name=") ? controllers.substr(5) : controllers;
  }

  // cgroup v2: the one tree. v1 and hybrid: a tmpfs with one directory a hierarchy, as software of that time expects to find them.
  void add_cgroups(const std::string& target, const ParsedOptions& options) {
    if (facts_.cgroups == nullptr) {
      return;
    }
    constexpr unsigned long kSafe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (facts_.cgroups->mode() == CgroupMode::kV2) {
      add_filesystem(target, "cgroup2", options.flags | kSafe, "");
      return;
    }
    add_filesystem(target, "tmpfs", kSafe, "mode=755,size=64k,nr_inodes=64");
    for (const CgroupHierarchy& hierarchy : facts_.cgroups->hierarchies()) {
      if (hierarchy.unified) {
        add_filesystem(target + "/unified", "cgroup2", options.flags | kSafe, "");
        continue;
      }
      std::string controllers;
      for (const std::string& controller : hierarchy.controllers) {
        controllers += (controllers.empty() ? "" : ",") + controller;
      }
      const std::string name = controllers.starts_with("name=") ? controllers.substr(5) : controllers;
      // A named hierarchy has no controller: the kernel wants to be told so.
      add_filesystem(target + "/" + name, "cgroup", options.flags | kSafe, controllers.starts_with("name=") ? "none," + controllers : controllers);
    }
    if ((options.flags & MS_RDONLY) != 0) {
      step(Kind::kReadOnlyMount, target);
    }
  }

  void add_filesystem(const std::string& target, const char* type, unsigned long flags, const std::string& data) {
    MountStep& added = step(Kind::kFilesystem, target);
    added.type = type;
    added.source = type;
    added.flags = flags;
    added.data = data;
  }

  void add_devices() {
    if (devices_added_) {
      return;
    }
    devices_added_ = true;
    add_device({"/dev/null", S_IFCHR, 0666, 1, 3, 0, 0});
    add_device({"/dev/zero", S_IFCHR, 0666, 1, 5, 0, 0});
    add_device({"/dev/full", S_IFCHR, 0666, 1, 7, 0, 0});
    add_device({"/dev/random", S_IFCHR, 0666, 1, 8, 0, 0});
    add_device({"/dev/urandom", S_IFCHR, 0666, 1, 9, 0, 0});
    add_device({"/dev/tty", S_IFCHR, 0666, 5, 0, 0, 0});
    for (const OciDevice& device : config_.devices) {
      add_device(device);
    }
    add_link("/dev/fd", "/proc/self/fd");
    add_link("/dev/stdin", "/proc/self/fd/0");
    add_link("/dev/stdout", "/proc/self/fd/1");
    add_link("/dev/stderr", "/proc/self/fd/2");
    add_link("/dev/core", "/proc/kcore");
    add_link("/dev/ptmx", "pts/ptmx");
  }

  void add_device(const OciDevice& device) {
    if (facts_.user_namespace && device.type != S_IFIFO) {
      // mknod is refused in a user namespace; a node of the host, bound, works.
      ParsedOptions options;
      options.flags = MS_NOSUID | MS_NOEXEC;
      add_bind(clean_path(device.path), device.path, options);
      plan_.binds.back().device_type = device.type;
      plan_.binds.back().device = makedev(device.major, device.minor);
      return;
    }
    MountStep& added = step(Kind::kNode, clean_path(device.path));
    added.mode = device.type | device.mode;
    added.device = makedev(device.major, device.minor);
    added.uid = device.uid;
    added.gid = device.gid;
  }

  void add_link(const char* link, const char* text) { step(Kind::kLink, link).source = text; }

  Done add_sysctls() {
    for (const auto& [name, value] : config_.sysctl) {
      const std::string path = sysctl_path(name);
      if (path.empty() || clean_path(path) != "/" + path) {
        return refuse(ErrorCode::kInvalidRequest, "linux.sysctl has no usable name in '" + name + "'");
      }
      if (path == "kernel/hostname" || (path == "kernel/domainname" && !config_.domainname.empty() && config_.domainname != value)) {
        const std::string field = path.substr(path.rfind('/') + 1);
        return refuse(ErrorCode::kInvalidRequest, "linux.sysctl '" + name + "' conflicts with the config's own field '" + field + "'", 0, "leave one of them out");
      }
      // Only what belongs to a namespace of the container: the rest would change the host.
      const std::pair<std::string_view, bool> owners[] = {{"net/", facts_.host_network},       {"fs/mqueue/", facts_.host_ipc},  {"kernel/msg", facts_.host_ipc},
                                                          {"kernel/shm", facts_.host_ipc}, {"kernel/sem", facts_.host_ipc}, {"kernel/domainname", facts_.host_uts}};
      if (std::none_of(std::begin(owners), std::end(owners), [&](const auto& owner) { return path.starts_with(owner.first) && !owner.second; })) {
        return refuse(ErrorCode::kInvalidRequest, "linux.sysctl '" + name + "' is not of a namespace of the container: it would change the host");
      }
      step(Kind::kSysctl, "/proc/sys/" + path).source = value;
    }
    return {};
  }

  const OciConfig& config_;
  const PlanFacts& facts_;
  MountPlan plan_;
  bool devices_added_ = false, read_only_dev_ = false;
};

}  // namespace

std::vector<std::string> mount_option_names() {
  std::vector<std::string> names = {"bind", "rbind", "idmap", "ridmap", "tmpcopyup"};
  for (const OptionMeaning& option : kFlagOptions) {
    names.emplace_back(option.name);
  }
  for (const RecursiveOption& option : kRecursiveOptions) {
    names.emplace_back(option.name);
  }
  for (const OptionMeaning& option : kPropagationOptions) {
    names.emplace_back(option.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Outcome<MountPlan> build_mount_plan(const OciConfig& config, const PlanFacts& facts) { return PlanBuilder(config, facts).build(); }

}  // namespace strata::runtime
