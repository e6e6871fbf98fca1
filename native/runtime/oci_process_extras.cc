#include "runtime/oci_process_extras.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "core/cgroup_limits.h"
#include "core/pseudo_file.h"
#include "core/sys.h"

namespace strata::runtime {
namespace {

struct Named {
  const char* name;
  std::uint64_t value;
};

template <std::size_t Size>
Outcome<std::uint64_t> look_up(const Named (&table)[Size], const Json& json, const char* what) {
  const std::string name = TRY(json.text());
  const auto* const found = std::find_if(std::begin(table), std::end(table), [&](const Named& entry) { return name == entry.name; });
  if (found == std::end(table)) {
    return json.wrong(std::string(what) + ", not '" + name + "'");
  }
  return found->value;
}

constexpr Named kIoClasses[] = {{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
constexpr Named kPolicies[] = {{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2}, {"SCHED_BATCH", 3}, {"SCHED_ISO", 4}, {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}};
constexpr Named kFlags[] = {{"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},     {"SCHED_FLAG_DL_OVERRUN", 0x04},    {"SCHED_FLAG_KEEP_POLICY", 0x08},
                            {"SCHED_FLAG_KEEP_PARAMS", 0x10},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20}, {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};

// struct sched_attr of the kernel, which glibc 2.36 does not have.
struct SchedAttr {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

}  // namespace

Outcome<std::optional<int>> read_io_priority(const Json& json) {
  if (json.absent()) {
    return std::optional<int>();
  }
  TRY(json.object());
  const auto io_class = static_cast<int>(TRY(look_up(kIoClasses, json["class"], "a class (IOPRIO_CLASS_RT, _BE, _IDLE)")));
  const auto priority = static_cast<int>(TRY(json["priority"].optional_integer(0, 7)).value_or(0));
  return std::optional<int>(io_class << 13 | priority);
}

Outcome<std::optional<OciScheduler>> read_scheduler(const Json& json) {
  if (json.absent()) {
    return std::optional<OciScheduler>();
  }
  TRY(json.object());
  OciScheduler scheduler;
  scheduler.policy = static_cast<std::uint32_t>(TRY(look_up(kPolicies, json["policy"], "a policy (SCHED_OTHER, ...)")));
  scheduler.nice = static_cast<std::int32_t>(TRY(json["nice"].optional_integer(-20, 19)).value_or(0));
  scheduler.priority = static_cast<std::uint32_t>(TRY(json["priority"].optional_integer(0, 99)).value_or(0));
  const Json flags = json["flags"];
  for (std::size_t i = 0, size = TRY(flags.array_size()); i < size; ++i) {
    scheduler.flags |= TRY(look_up(kFlags, flags.at(i), "a flag (SCHED_FLAG_RESET_ON_FORK, ...)"));
  }
  scheduler.runtime_ns = json["runtime"].absent() ? 0 : TRY(json["runtime"].natural());
  scheduler.deadline_ns = json["deadline"].absent() ? 0 : TRY(json["deadline"].natural());
  scheduler.period_ns = json["period"].absent() ? 0 : TRY(json["period"].natural());
  return std::optional(scheduler);
}

Outcome<std::optional<unsigned long>> read_personality(const Json& json) {
  if (json.absent()) {
    return std::optional<unsigned long>();
  }
  const std::string domain = TRY(json["domain"].text());
  if (TRY(json["flags"].array_size()) != 0) {
    return json["flags"].wrong("empty: the spec knows no flag");
  }
  if (domain == "LINUX") {
    return std::optional<unsigned long>(PER_LINUX);
  }
  if (domain == "LINUX32") {
    return std::optional<unsigned long>(PER_LINUX32);
  }
  return json["domain"].wrong("LINUX or LINUX32");
}

Outcome<std::vector<unsigned>> read_cpu_list(const Json& json) {
  const std::string text = TRY(json.text_or(""));
  if (text.empty()) {
    return std::vector<unsigned>();
  }
  const auto cpus = parse_cpu_list(text);
  if (!cpus || cpus->back() >= CPU_SETSIZE) {
    return json.wrong("a list of cpus as in \"0-3,7\", not '" + text + "'");
  }
  return std::vector<unsigned>(cpus->begin(), cpus->end());
}

Done apply_cpu_affinity(const std::vector<unsigned>& cpus) {
  if (cpus.empty()) {
    return {};
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned cpu : cpus) {
    CPU_SET(cpu, &set);
  }
  if (::sched_setaffinity(0, sizeof set, &set) < 0) {
    return refuse_errno(ErrorCode::kLimitRejected, "set process.execCPUAffinity", errno == EINVAL ? "none of these cpus is there for the container" : "");
  }
  return {};
}

Done apply_io_priority(int priority) {
  if (::syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, priority) < 0) {
    return refuse_errno(ErrorCode::kLimitRejected, "set process.ioPriority");
  }
  return {};
}

Done apply_scheduler(const OciScheduler& scheduler) {
  SchedAttr attributes{sizeof(SchedAttr), scheduler.policy,     scheduler.flags,       scheduler.nice,
                       scheduler.priority, scheduler.runtime_ns, scheduler.deadline_ns, scheduler.period_ns};
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0) < 0) {
    return refuse_errno(ErrorCode::kLimitRejected, "set process.scheduler");
  }
  return {};
}

namespace {

// A procfs that nothing is mounted over, without what the container's masks hide: whoever may trace this process sees it. Where the kernel refuses it
// (a user namespace whose /proc has masks), the container's own.
Outcome<UniqueFd> open_procfs() {
  Sys& sys = real_sys();
  const auto make = [&]() -> Result<UniqueFd> {
    const UniqueFd context = TRY(sys.fs_open("proc"));
    TRY(sys.fs_set_string(context.get(), "subset", "pid"));
    TRY(sys.fs_create(context.get()));
    return sys.fs_mount(context.get(), 0);
  };
  if (auto made = make()) {
    return std::move(*made);
  }
  UniqueFd proc = TRY(classify(sys.open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0, kNoSymlinks), ErrorCode::kKernelFeatureMissing, "open a procfs for the security label"));
  if (TRY(sys.file_system_of(proc.get())) != PROC_SUPER_MAGIC) {
    return refuse(ErrorCode::kMountFailed, "the container's '/proc' is no procfs, which a security label is written to", ENODEV, "", "/proc");
  }
  return proc;
}

Status write_label(int proc, const char* file, const std::string& label) {
  return real_sys().write_file(proc, file, label, kResolveInRoot | kNoMountPoints);  // CVE-2025-52881
}

}  // namespace

Done apply_security_label(const OciProcess& process) {
  if (process.apparmor_profile.empty() && process.selinux_label.empty()) {
    return {};
  }
  const UniqueFd proc = TRY(open_procfs());
  // AppArmor's own directory where the kernel has it (5.8), else the one that it shares with others.
  if (!process.apparmor_profile.empty()) {
    const bool has_own = pseudo_file_exists(proc.get(), "self/attr/apparmor/exec");
    if (auto written = write_label(proc.get(), has_own ? "self/attr/apparmor/exec" : "self/attr/exec", "exec " + process.apparmor_profile); !written) {
      Error error = std::move(written).error();
      error.hint = has_own ? "no such profile is loaded" : "AppArmor is not enabled on this host";
      return classify(Status(std::unexpected(std::move(error))), ErrorCode::kKernelFeatureMissing, "use the AppArmor profile '" + process.apparmor_profile + "'");
    }
  }
  if (!process.selinux_label.empty()) {
    if (auto written = write_label(proc.get(), "self/attr/exec", process.selinux_label); !written) {
      Error error = std::move(written).error();
      error.hint = ::access("/sys/fs/selinux/enforce", F_OK) == 0 ? "" : "SELinux is not enabled on this host";
      return classify(Status(std::unexpected(std::move(error))), ErrorCode::kKernelFeatureMissing, "use the SELinux label '" + process.selinux_label + "'");
    }
  }
  return {};
}

}  // namespace strata::runtime
