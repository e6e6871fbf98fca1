#include "runtime/oci/systemd_scope.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "core/cgroup_limits.h"
#include "core/pseudo_file.h"
#include "runtime/exec_session.h"
#include "runtime/oci/systemd_bus.h"
#include "runtime/sandbox.h"

namespace strata::runtime::oci {
namespace {

// a(sv): names and variants.
class Properties {
 public:
  explicit Properties(DbusBody& body) : body_(body), start_(body.begin_array(8)) {}
  void end() { body_.end_array(start_, 8); }
  DbusBody& add(const char* name, const char* type) { return body_.begin_struct().text(name).signature(type); }
  // "No limit" is the largest number.
  void limit(const char* name, const std::optional<std::int64_t>& value) {
    if (value.value_or(0) != 0) {
      add(name, "t").uint64(*value < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(*value));
    }
  }
  // A cpuset as a bit mask, the lowest in the first byte.
  void mask(const char* name, const std::optional<std::string>& list) {
    const auto numbers = parse_cpu_list(list.value_or(""));
    if (!numbers || numbers->empty()) {
      return;
    }
    std::string bits(numbers->back() / 8 + 1, '\0');
    for (const std::uint32_t number : *numbers) {
      bits[number / 8] = static_cast<char>(bits[number / 8] | 1 << (number % 8));
    }
    DbusBody& body = add(name, "ay");
    const std::size_t array = body.begin_array(1);
    for (const char byte : bits) {
      body.byte(static_cast<std::uint8_t>(byte));
    }
    body.end_array(array, 1);
  }

 private:
  DbusBody& body_;
  std::size_t start_;
};

void add_limits(Properties& properties, const CgroupResources& resources, bool v2) {
  properties.limit(v2 ? "MemoryMax" : "MemoryLimit", resources.memory_limit);
  if (v2) {
    properties.limit("MemoryLow", resources.memory_reservation);
    if (resources.memory_swap.value_or(0) > 0 && resources.memory_limit.value_or(0) > 0) {
      properties.add("MemorySwapMax", "t").uint64(static_cast<std::uint64_t>(*resources.memory_swap - *resources.memory_limit));
    }
    properties.mask("AllowedCPUs", resources.cpus);
    properties.mask("AllowedMemoryNodes", resources.mems);
  }
  if (resources.cpu_shares.value_or(0) != 0) {
    properties.add(v2 ? "CPUWeight" : "CPUShares", "t").uint64(v2 ? shares_to_weight(*resources.cpu_shares) : *resources.cpu_shares);
  }
  if (resources.cpu_quota_us || resources.cpu_period_us) {
    const std::uint64_t period = resources.cpu_period_us.value_or(100000);
    const std::int64_t quota = resources.cpu_quota_us.value_or(-1);
    // systemd counts in steps of 10 ms a second: rounded up, as runc does.
    const std::uint64_t per_second = quota <= 0 ? ~std::uint64_t{0} : (static_cast<std::uint64_t>(quota) * 1000000 / period + 9999) / 10000 * 10000;
    properties.add("CPUQuotaPeriodUSec", "t").uint64(period);
    properties.add("CPUQuotaPerSecUSec", "t").uint64(per_second);
  }
  properties.limit("TasksMax", resources.pids_limit);
}

// The name that /proc/devices gives a major number, as systemd takes it for all of its minor ones.
std::string group_of(char type, std::int64_t major) {
  const std::string text = read_pseudo_file(AT_FDCWD, "/proc/devices").value_or("");
  std::string_view rest = text;
  std::string_view line;
  bool in_section = false;
  while (next_line(rest, line)) {
    if (line.ends_with(':')) {
      in_section = line.starts_with(type == 'c' ? "Character" : "Block");
    } else if (in_section && parse_i64(next_word(line)) == major) {
      return std::string(next_word(line));
    }
  }
  return {};
}

// What systemd writes when it is reloaded; the container's own rules are in the cgroup already. A rule that denies some of what another allows
// cannot be said here.
void add_devices(Properties& properties, const CgroupResources& resources) {
  for (const CgroupResources::DeviceRule& rule : resources.devices) {
    if (rule.allow && rule.type == 'a') {
      properties.add("DevicePolicy", "s").text("auto");
      return;
    }
  }
  properties.add("DevicePolicy", "s").text("strict");
  DbusBody& body = properties.add("DeviceAllow", "a(ss)");
  const std::size_t array = body.begin_array(8);
  for (const CgroupResources::DeviceRule& rule : resources.devices) {
    const std::string kind = rule.type == 'b' ? "block" : "char";
    std::string node;
    if (rule.major && rule.minor) {
      node = "/dev/" + kind + "/" + std::to_string(*rule.major) + ":" + std::to_string(*rule.minor);
    } else if (!rule.major) {
      node = kind + "-*";
    } else if (const std::string group = group_of(rule.type, *rule.major); !group.empty()) {
      node = kind + "-" + group;
    }
    if (rule.allow && !node.empty()) {
      body.begin_struct().text(node).text(rule.access.empty() ? "rwm" : rule.access);
    }
  }
  body.end_array(array, 8);
}

}  // namespace

Outcome<SystemdScope> parse_systemd_scope(const std::string& cgroups_path, const std::string& id) {
  if (cgroups_path.empty()) {
    return SystemdScope{"system.slice", "strata-runtime-" + id + ".scope"};
  }
  const std::size_t first = cgroups_path.find(':');
  const std::size_t second = first == std::string::npos ? first : cgroups_path.find(':', first + 1);
  if (second == std::string::npos) {
    return refuse(ErrorCode::kInvalidRequest, "linux.cgroupsPath must be 'slice:prefix:name' for the systemd driver, not '" + cgroups_path + "'");
  }
  const std::string prefix = cgroups_path.substr(first + 1, second - first - 1);
  const std::string name = cgroups_path.substr(second + 1);
  return SystemdScope{first == 0 ? "system.slice" : cgroups_path.substr(0, first), name.ends_with(".slice") ? "" : (prefix.empty() ? "" : prefix + "-") + name + ".scope"};
}

ScopeHolder& ScopeHolder::operator=(ScopeHolder&& other) noexcept {
  if (this != &other) {
    release();
    pid_ = other.pid_;
    other.pid_ = -1;
  }
  return *this;
}

void ScopeHolder::release() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    reap(pid_);
    pid_ = -1;
  }
}

Outcome<ScopeHolder> start_scope(const SystemdScope& scope, const std::string& id, const CgroupResources& resources, bool v2) {
  SystemdBus bus = TRY(SystemdBus::connect());
  const pid_t pid = ::fork();
  if (pid < 0) {
    return refuse_errno(ErrorCode::kCgroupFailed, "fork");
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    keep_only({});
    for (;;) {
      ::pause();
    }
  }
  ScopeHolder holder(pid);
  DbusBody body;
  body.text(scope.unit).text("replace");
  Properties properties(body);
  properties.add("Description", "s").text("container " + id);
  properties.add("Slice", "s").text(scope.slice);
  properties.add("Delegate", "b").boolean(true);
  properties.add("DefaultDependencies", "b").boolean(false);
  for (const char* accounting : {"CPUAccounting", "MemoryAccounting", "TasksAccounting", v2 ? "IOAccounting" : "BlockIOAccounting"}) {
    properties.add(accounting, "b").boolean(true);
  }
  DbusBody& pids = properties.add("PIDs", "au");
  const std::size_t array = pids.begin_array(4);
  pids.uint32(static_cast<std::uint32_t>(pid));
  pids.end_array(array, 4);
  add_limits(properties, resources, v2);
  add_devices(properties, resources);
  properties.end();
  body.end_array(body.begin_array(8), 8);  // no auxiliary units
  TRY(bus.run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body, scope.unit));
  return holder;
}

Done update_scope(const std::string& unit, const CgroupResources& resources, bool v2) {
  SystemdBus bus = TRY(SystemdBus::connect());
  DbusBody body;
  body.text(unit).boolean(true);  // until the next boot
  Properties properties(body);
  add_limits(properties, resources, v2);
  properties.end();
  TRY(bus.call("SetUnitProperties", "sba(sv)", body));
  return {};
}

Done stop_scope(const std::string& unit) {
  SystemdBus bus = TRY(SystemdBus::connect());
  const auto is_gone = [](const Outcome<DbusMessage>& answer) { return !answer && answer.error().error.hint == "org.freedesktop.systemd1.NoSuchUnit"; };
  DbusBody order;
  order.text(unit).text("replace");
  auto stopped = bus.call("StopUnit", "ss", order);
  DbusBody name;
  name.text(unit);
  // Not its job but the unit is waited for: one that ended by itself at this moment has no job to be told of.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (is_gone(stopped)) {
      return {};
    }
    if (!stopped) {
      return std::unexpected(std::move(stopped).error());
    }
    static_cast<void>(bus.call("ResetFailedUnit", "s", name));
    const timespec moment{0, 10'000'000};
    ::nanosleep(&moment, nullptr);
    stopped = bus.call("GetUnit", "s", name);
  }
  return refuse(ErrorCode::kCgroupFailed, "systemd does not stop '" + unit + "'", ETIMEDOUT);
}

}  // namespace strata::runtime::oci
