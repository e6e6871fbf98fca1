#include "runtime/oci/new_container.h"

#include <sys/stat.h>
#include <unistd.h>

#include "core/cgroup_freezer.h"
#include "runtime/clock.h"
#include "runtime/oci/cgroup_path.h"
#include "runtime/oci/criu_container.h"
#include "runtime/oci/files.h"
#include "runtime/oci/notify.h"
#include "runtime/oci/rootless.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

std::unexpected<Failure> refuse_inhabited(const std::string& path) {
  return refuse(ErrorCode::kCgroupFailed, "container's cgroup is not empty: '" + path + "' has processes that are none of the container's", EBUSY, "use another linux.cgroupsPath");
}

// A path can lead to the very namespace that the runtime is in: then it is shared with the host. What cannot be looked at cannot be joined either.
bool shares(const OciConfig& config, const char* type, const char* file) {
  if (config.makes_namespace(type)) {
    return false;
  }
  for (const OciJoinedNamespace& joined : config.joined_namespaces) {
    struct stat own {}, other {};
    if (joined.type == type) {
      return ::stat((std::string("/proc/self/ns/") + file).c_str(), &own) == 0 && ::stat(joined.path.c_str(), &other) == 0 && own.st_ino == other.st_ino && own.st_dev == other.st_dev;
    }
  }
  return true;
}

}  // namespace

PlanFacts plan_facts(const OciConfig& config, Privilege privilege, const CgroupHost& host, const std::string& cgroup_path) {
  const auto own = [&](const char* type) { return config.makes_namespace(type) || config.joins_namespace(type); };
  PlanFacts facts;
  facts.user_namespace = own("user") || privilege != Privilege::kRoot;
  facts.cgroup_namespace = config.makes_namespace("cgroup");
  facts.cgroups = &host;
  facts.cgroup_path = cgroup_path;
  facts.without_cgroup = cgroup_path.empty();
  facts.host_network = shares(config, "network", "net");
  facts.host_ipc = shares(config, "ipc", "ipc");
  facts.host_uts = shares(config, "uts", "uts");
  return facts;
}

NewContainer::NewContainer(Context& context, Container fresh, Bundle its_bundle) : container(std::move(fresh)), bundle(std::move(its_bundle)), context_(context) {
  rollback_.add([this] { static_cast<void>(container.remove()); });
}

Done NewContainer::record_intent() {
  record().bundle = bundle.path;
  record().rootfs = config().root_path;
  record().created = rfc3339(nanoseconds_now());
  record().boot_id = boot_id();
  record().creator = ProcessIdentity::of(::getpid());
  if (record().boot_id.empty() || record().creator.start_time == 0) {  // every later command would take the container for a dead one
    return refuse(ErrorCode::kInternal, "read the boot's id and this process's start time from /proc");
  }
  record().annotations = bundle.annotations();
  const std::string cgroups_path = context_.rootless ? rootless_cgroup_path(CgroupHost::probe().value_or(CgroupHost()), config().cgroups_path, record().id) : config().cgroups_path;
  record().cgroup_path = TRY(cgroup_path_of(cgroups_path, record().id, context_.systemd_cgroup));
  if (context_.systemd_cgroup) {
    scope_ = TRY(parse_systemd_scope(config().cgroups_path, record().id));
    record().systemd_unit = scope_.unit;
  }
  TRY(container.save_config(bundle.text));
  TRY(container.save());
  if (has_notify_socket()) {
    add_notify_socket(bundle.config, TRY(container.make_directory(kNotifyDirectory)));
  }
  return {};
}

// Without root there may be no cgroup to be had, which is no error while none is needed. Device rules are not set: a user namespace makes no nodes, and
// those that are bound are the host's, with the host's permissions.
Outcome<Cgroup> NewContainer::make_rootless_cgroup() {
  CgroupResources resources = config().resources;
  resources.devices.clear();
  const auto host = CgroupHost::probe();
  Error reason{ENOENT, "find a cgroup file system", {}};
  if (host) {
    auto made = Cgroup::create(*host, record().cgroup_path);
    if (made && made->was_there() && !TRY(classify(made->processes(), ErrorCode::kCgroupFailed)).empty()) {
      return refuse_inhabited(record().cgroup_path);
    }
    if (made && made->keep_enterable()) {
      remove_at_rollback(*host, record().cgroup_path);
      auto applied = made->apply(resources);
      if (!applied && applied.error().errno_value != EINVAL && applied.error().errno_value != ERANGE) {
        applied.error().hint = "this user was not given the controller in '" + record().cgroup_path + "'";
      }
      TRY(classify(std::move(applied), ErrorCode::kLimitRejected, "apply linux.resources"));
      return std::move(*made);
    }
    reason = made ? Error{EACCES, "enter '" + record().cgroup_path + "'", {}} : made.error();
  }
  reason.hint = "a cgroup that is delegated to this user is one that linux.cgroupsPath can name";
  if (const std::string limit = first_limit(host.value_or(CgroupHost()), resources); !limit.empty()) {
    return std::unexpected(Failure(ErrorCode::kLimitRejected, std::move(reason).within("set '" + limit + "' without a cgroup")));
  }
  // Without the words of the error, which engines would take for one. An engine without root that asks for none knows that there is none.
  if (is_user() || !config().cgroups_path.empty()) {
    context_.log.warning("the container has no cgroup: this user cannot make '" + record().cgroup_path + "'; linux.cgroupsPath can name one below a cgroup that is delegated to the user");
  }
  record().cgroup_path.clear();
  return Cgroup::none();
}

void NewContainer::remove_at_rollback(const CgroupHost& host, const std::string& path) {
  rollback_.add([host, path] {
    if (auto made = Cgroup::open(host, path)) {
      static_cast<void>(made->destroy());
    }
  });
}

Outcome<Cgroup> NewContainer::make_cgroup() {
  if (context_.rootless) {
    return make_rootless_cgroup();
  }
  const CgroupHost host = TRY(classify(CgroupHost::probe(), ErrorCode::kCgroupFailed));
  const std::string& path = record().cgroup_path;
  CgroupResources resources = config().resources;
  allow_standard_devices(resources);
  if (!scope_.unit.empty()) {
    scope_holder_ = TRY(start_scope(scope_, record().id, resources, host.mode() == CgroupMode::kV2));
    rollback_.add([unit = scope_.unit] { static_cast<void>(stop_scope(unit)); });
  }
  Cgroup cgroup = TRY(classify(Cgroup::create(host, path), ErrorCode::kCgroupFailed, "make the cgroup '" + path + "'"));
  // Or init would sleep in it and this process wait for it. v1: one below a frozen one is frozen too.
  if (is_frozen(cgroup)) {
    cgroup.remove_made();
    return refuse(ErrorCode::kCgroupFailed, "container's cgroup unexpectedly frozen: '" + path + "' or one above it", EBUSY, "thaw it, or use another linux.cgroupsPath");
  }
  // Or to undo this create, and to delete this container, would kill them. A scope has the process that holds it.
  if (scope_.unit.empty() && cgroup.was_there() && !TRY(classify(cgroup.processes(), ErrorCode::kCgroupFailed)).empty()) {
    cgroup.remove_made();
    return refuse_inhabited(path);
  }
  trace::mark("make the cgroups");
  remove_at_rollback(host, path);
  TRY(classify(cgroup.apply(resources), ErrorCode::kLimitRejected, "apply linux.resources"));
  trace::mark("set limits and device rules");
  return cgroup;
}

Done NewContainer::record_init(pid_t pid) {
  record().init = ProcessIdentity::of(pid);
  if (record().init.start_time == 0) {
    return refuse(ErrorCode::kInternal, "read when the container's init was started");
  }
  record().creator = {};
  record().streams = stream_names();
  return container.save();
}

}  // namespace strata::runtime::oci
