#include "cgroup_limits.h"

#include <fcntl.h>

#include <algorithm>

#include "pseudo_file.h"

namespace strata {

namespace {

// v1 writes "no limit" as LONG_MAX rounded down to a page.
constexpr uint64_t kV1Unlimited = uint64_t{1} << 62;

std::string or_max(const std::optional<uint64_t>& value) { return value ? std::to_string(*value) : "max"; }
std::string or_minus_one(const std::optional<uint64_t>& value) { return value ? std::to_string(*value) : "-1"; }

std::string mebibytes(uint64_t bytes) { return std::to_string((bytes + (1U << 20) - 1) >> 20) + " MiB"; }

std::unexpected<Error> refuse(int errno_value, const std::string& limit, std::string hint) {
  return fail(errno_value, "set '" + limit + "'", std::move(hint));
}

Status check_list(const std::string& limit, const std::string& wanted, const std::string& online) {
  const auto numbers = parse_cpu_list(wanted);
  const std::string hint = "this host has " + online + "; write a list of them such as \"0-1,3\"";
  if (!numbers || numbers->empty()) {
    return refuse(EINVAL, limit, "\"" + wanted + "\" is no list; " + hint);
  }
  const auto present = parse_cpu_list(online);
  if (present && !std::includes(present->begin(), present->end(), numbers->begin(), numbers->end())) {
    return refuse(ERANGE, limit, "\"" + wanted + "\" is not all online; " + hint);
  }
  return {};
}

Status check_cpu(const LimitContext& context, const CgroupLimitsChange& change) {
  const bool cpu = change.cpu_quota_us || change.cpu_period_us || change.cpu_weight;
  if (cpu && !context.has_cpu) {
    return refuse(ENOTSUP, "cpu", "this host has no cpu controller for containers");
  }
  if (change.cpu_quota_us && *change.cpu_quota_us && **change.cpu_quota_us < 1000) {
    return refuse(EINVAL, "cpuQuotaUs", "the least quota is 1000 microseconds");
  }
  if (change.cpu_period_us && (*change.cpu_period_us < 1000 || *change.cpu_period_us > 1000000)) {
    return refuse(EINVAL, "cpuPeriodUs", "a period is 1000 to 1000000 microseconds");
  }
  if (change.cpu_weight && (*change.cpu_weight < 1 || *change.cpu_weight > 10000)) {
    return refuse(EINVAL, "cpuWeight", "a weight is 1 to 10000 (100 is usual)");
  }
  if ((change.cpuset_cpus || change.cpuset_mems) && !context.has_cpuset) {
    return refuse(ENOTSUP, "cpuset", "this host has no cpuset controller for containers");
  }
  if (change.cpuset_cpus && *change.cpuset_cpus) {
    TRY(check_list("cpusetCpus", **change.cpuset_cpus, context.online_cpus));
  }
  if (change.cpuset_mems && *change.cpuset_mems) {
    TRY(check_list("cpusetMems", **change.cpuset_mems, context.online_mems));
  }
  return {};
}

void plan_cpu(const LimitContext& context, const CgroupLimitsChange& change, std::vector<LimitWrite>& writes) {
  if (change.cpu_quota_us || change.cpu_period_us) {
    const std::optional<int64_t> quota = change.cpu_quota_us.value_or(context.present.cpu_quota_us);
    const uint64_t period = change.cpu_period_us.value_or(context.present.cpu_period_us);
    if (context.cpu_v2) {
      writes.push_back({"cpu", "cpu.max", (quota ? std::to_string(*quota) : "max") + " " + std::to_string(period)});
    } else {
      // The share quota/period may never pass the parent's, not even between the two writes.
      LimitWrite write_period{"cpu", "cpu.cfs_period_us", std::to_string(period)};
      LimitWrite write_quota{"cpu", "cpu.cfs_quota_us", quota ? std::to_string(*quota) : "-1"};
      const bool grows = period >= context.present.cpu_period_us;
      writes.push_back(grows ? write_period : write_quota);
      writes.push_back(grows ? write_quota : write_period);
    }
  }
  if (change.cpu_weight) {
    writes.push_back(context.cpu_v2 ? LimitWrite{"cpu", "cpu.weight", std::to_string(*change.cpu_weight)}
                                    : LimitWrite{"cpu", "cpu.shares", std::to_string(weight_to_shares(*change.cpu_weight))});
  }
  if (change.cpuset_cpus) {
    writes.push_back({"cpuset", "cpuset.cpus", change.cpuset_cpus->value_or(context.parent_cpus)});
  }
  if (change.cpuset_mems) {
    writes.push_back({"cpuset", "cpuset.mems", change.cpuset_mems->value_or(context.parent_mems)});
  }
}

Status plan_memory(const LimitContext& context, const CgroupLimitsChange& change, std::vector<LimitWrite>& writes) {
  if (!change.memory_max_bytes && !change.memory_swap_max_bytes) {
    return {};
  }
  if (!context.has_memory) {
    return refuse(ENOTSUP, "memory", "this host has no memory controller for containers");
  }
  if (change.memory_swap_max_bytes && *change.memory_swap_max_bytes && !context.swap_accounting) {
    return refuse(ENOTSUP, "memorySwapMaxBytes", "this host's kernel does not count swap; boot it with swapaccount=1");
  }
  const CgroupLimits& present = context.present;
  const std::optional<uint64_t> memory = change.memory_max_bytes.value_or(present.memory_max_bytes);
  std::optional<uint64_t> total = change.memory_swap_max_bytes.value_or(present.memory_swap_max_bytes);
  if (change.memory_max_bytes && !memory && !change.memory_swap_max_bytes) {
    total.reset();  // A sum below an unlimited part has no meaning: the limit of the sum goes with it.
  }
  if (total && !memory) {
    return refuse(EINVAL, "memorySwapMaxBytes", "a limit of memory and swap together needs memoryMaxBytes too");
  }
  if (total && *total < *memory) {
    return refuse(EINVAL, change.memory_max_bytes ? "memoryMaxBytes" : "memorySwapMaxBytes",
                  "memory (" + mebibytes(*memory) + ") is above memory and swap together (" + mebibytes(*total) + "); raise memorySwapMaxBytes as well");
  }
  if (change.memory_max_bytes && memory && *memory < context.memory_in_use_bytes) {
    return refuse(EBUSY, "memoryMaxBytes", mebibytes(context.memory_in_use_bytes) + " are in use; the limit cannot be lower");
  }
  if (context.memory_v2) {
    writes.push_back({"memory", "memory.max", or_max(memory)});
    if (context.swap_accounting) {
      writes.push_back({"memory", "memory.swap.max", total ? std::to_string(*total - *memory) : "max"});
    }
    return {};
  }
  // limit <= memsw holds at every moment: the sum goes up first and comes down last.
  const LimitWrite write_memory{"memory", "memory.limit_in_bytes", or_minus_one(memory)};
  const LimitWrite write_total{"memory", "memory.memsw.limit_in_bytes", or_minus_one(total)};
  if (!context.swap_accounting) {
    writes.push_back(write_memory);
    return {};
  }
  const bool total_first = !total || (present.memory_swap_max_bytes && *total >= *present.memory_swap_max_bytes);
  writes.push_back(total_first ? write_total : write_memory);
  writes.push_back(total_first ? write_memory : write_total);
  return {};
}

}  // namespace

uint64_t shares_to_weight(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

uint64_t weight_to_shares(uint64_t weight) {
  weight = std::clamp<uint64_t>(weight, 1, 10000);
  return 2 + ((weight - 1) * 262142 + 9998) / 9999;
}

Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text) {
  std::vector<uint32_t> numbers;
  text = trim(text);
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view range = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    const size_t dash = range.find('-');
    const auto first = parse_u64(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_u64(range.substr(dash + 1));
    if (!first || !last || *first > *last || *last > 65535 || (comma != std::string_view::npos && text.empty())) {
      return fail(EINVAL, "parse 'list'");
    }
    for (uint64_t number = *first; number <= *last; ++number) {
      numbers.push_back(static_cast<uint32_t>(number));
    }
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

Result<std::vector<LimitWrite>> plan_limit_writes(const LimitContext& context, const CgroupLimitsChange& change) {
  std::vector<LimitWrite> writes;
  TRY(check_cpu(context, change));
  if (change.pids_max) {
    if (!context.has_pids) {
      return refuse(ENOTSUP, "pidsMax", "this host has no pids controller for containers");
    }
    if (*change.pids_max && **change.pids_max < 1) {
      return refuse(EINVAL, "pidsMax", "the least is 1");
    }
  }
  // Memory first: it is the one that the kernel may refuse.
  TRY(plan_memory(context, change, writes));
  plan_cpu(context, change, writes);
  if (change.pids_max) {
    writes.push_back({"pids", "pids.max", or_max(*change.pids_max)});
  }
  return writes;
}

std::vector<LimitWrite> plan_resource_writes(const CgroupResources& resources, bool cpu_v2, bool memory_v2, bool swap_accounting) {
  std::vector<LimitWrite> writes;
  const auto positive = [](const std::optional<int64_t>& value) { return value && *value > 0; };
  if (resources.cpu_quota_us || resources.cpu_period_us) {
    const uint64_t period = resources.cpu_period_us.value_or(0) != 0 ? *resources.cpu_period_us : 100000;
    const bool limited = positive(resources.cpu_quota_us);
    if (cpu_v2) {
      writes.push_back({"cpu", "cpu.max", (limited ? std::to_string(*resources.cpu_quota_us) : "max") + " " + std::to_string(period)});
    } else {
      writes.push_back({"cpu", "cpu.cfs_period_us", std::to_string(period)});
      writes.push_back({"cpu", "cpu.cfs_quota_us", limited ? std::to_string(*resources.cpu_quota_us) : "-1"});
    }
  }
  if (resources.cpu_shares && *resources.cpu_shares != 0) {
    writes.push_back(cpu_v2 ? LimitWrite{"cpu", "cpu.weight", std::to_string(shares_to_weight(*resources.cpu_shares))}
                            : LimitWrite{"cpu", "cpu.shares", std::to_string(*resources.cpu_shares)});
  }
  if (resources.cpus && !resources.cpus->empty()) {
    writes.push_back({"cpuset", "cpuset.cpus", *resources.cpus});
  }
  if (resources.mems && !resources.mems->empty()) {
    writes.push_back({"cpuset", "cpuset.mems", *resources.mems});
  }
  const auto amount = [&](int64_t value) { return value > 0 ? std::to_string(value) : memory_v2 ? "max" : "-1"; };
  if (resources.memory_limit.value_or(0) != 0) {
    writes.push_back({"memory", memory_v2 ? "memory.max" : "memory.limit_in_bytes", amount(*resources.memory_limit)});
  }
  if (resources.memory_reservation.value_or(0) != 0) {
    writes.push_back({"memory", memory_v2 ? "memory.low" : "memory.soft_limit_in_bytes", amount(*resources.memory_reservation)});
  }
  // As runc: memory without a limit and nothing said of swap means neither has one.
  const int64_t total = resources.memory_limit == -1 && resources.memory_swap.value_or(0) == 0 ? -1 : resources.memory_swap.value_or(0);
  if (total != 0 && swap_accounting) {
    if (!memory_v2) {
      writes.push_back({"memory", "memory.memsw.limit_in_bytes", total < 0 ? "-1" : std::to_string(total)});
    } else {
      const int64_t swap = std::max<int64_t>(0, total - std::max<int64_t>(0, resources.memory_limit.value_or(0)));
      writes.push_back({"memory", "memory.swap.max", total < 0 ? "max" : std::to_string(swap)});
    }
  }
  if (resources.pids_limit) {
    writes.push_back({"pids", "pids.max", positive(resources.pids_limit) ? std::to_string(*resources.pids_limit) : "max"});
  }
  return writes;
}

namespace {

std::string read_or_empty(int directory, const std::string& file) {
  return directory < 0 ? std::string() : read_pseudo_file(directory, file).value_or(std::string());
}

std::optional<uint64_t> read_v1_limit(int directory, const std::string& file) {
  const auto value = parse_u64(read_or_empty(directory, file));
  return value && *value < kV1Unlimited ? value : std::nullopt;
}

void read_cpu(const Cgroup& cgroup, CgroupLimits& limits) {
  const int cpu = cgroup.controller_fd("cpu");
  if (cpu >= 0 && cgroup.controller_is_v2("cpu")) {
    const std::string text = read_or_empty(cpu, "cpu.max");
    std::string_view rest = text;
    limits.cpu_quota_us = parse_i64(next_word(rest));
    limits.cpu_period_us = parse_u64(next_word(rest)).value_or(limits.cpu_period_us);
    limits.cpu_weight = parse_u64(read_or_empty(cpu, "cpu.weight")).value_or(limits.cpu_weight);
  } else if (cpu >= 0) {
    const auto quota = parse_i64(read_or_empty(cpu, "cpu.cfs_quota_us"));
    limits.cpu_quota_us = quota && *quota > 0 ? quota : std::nullopt;
    limits.cpu_period_us = parse_u64(read_or_empty(cpu, "cpu.cfs_period_us")).value_or(limits.cpu_period_us);
    limits.cpu_weight = shares_to_weight(parse_u64(read_or_empty(cpu, "cpu.shares")).value_or(1024));
  }
}

// What "not restricted" is written as. v1 has no empty list, and v2 refuses to empty one while there are processes (ENOSPC).
std::string parent_list(const Cgroup& cgroup, const std::string& file) {
  return read_or_empty(cgroup.controller_fd("cpuset"), "../" + file + (cgroup.controller_is_v2("cpuset") ? ".effective" : ""));
}

void read_cpuset(const Cgroup& cgroup, CgroupLimits& limits) {
  const int cpuset = cgroup.controller_fd("cpuset");
  for (auto& [file, list] : {std::pair{"cpuset.cpus", &limits.cpuset_cpus}, std::pair{"cpuset.mems", &limits.cpuset_mems}}) {
    const std::string text = read_or_empty(cpuset, file);
    if (!text.empty() && text != parent_list(cgroup, file)) {
      *list = text;
    }
  }
}

void read_memory(const Cgroup& cgroup, CgroupLimits& limits) {
  const int memory = cgroup.controller_fd("memory");
  if (cgroup.controller_is_v2("memory")) {
    limits.memory_max_bytes = parse_u64(read_or_empty(memory, "memory.max"));
    const auto swap = parse_u64(read_or_empty(memory, "memory.swap.max"));
    if (swap && limits.memory_max_bytes) {
      limits.memory_swap_max_bytes = *limits.memory_max_bytes + *swap;
    }
  } else {
    limits.memory_max_bytes = read_v1_limit(memory, "memory.limit_in_bytes");
    limits.memory_swap_max_bytes = read_v1_limit(memory, "memory.memsw.limit_in_bytes");
  }
}

// As a person sees it: without the page cache that nobody asked for lately (Docker's reading).
uint64_t memory_in_use(const Cgroup& cgroup) {
  const int memory = cgroup.controller_fd("memory");
  const bool v2 = cgroup.controller_is_v2("memory");
  const uint64_t usage = parse_u64(read_or_empty(memory, v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
  const uint64_t inactive = keyed_value(read_or_empty(memory, "memory.stat"), v2 ? "inactive_file" : "total_inactive_file").value_or(0);
  return usage > inactive ? usage - inactive : 0;
}

std::string online(const char* path) {
  const auto text = read_pseudo_file(AT_FDCWD, path);
  return text && !text->empty() ? *text : "0";
}

}  // namespace

Result<CgroupLimits> read_limits(const Cgroup& cgroup) {
  CgroupLimits limits;
  read_cpu(cgroup, limits);
  read_cpuset(cgroup, limits);
  read_memory(cgroup, limits);
  limits.pids_max = parse_u64(read_or_empty(cgroup.controller_fd("pids"), "pids.max"));
  return limits;
}

Status write_limits(const Cgroup& cgroup, const CgroupLimitsChange& change) {
  LimitContext context;
  context.present = TRY(read_limits(cgroup));
  context.has_cpu = cgroup.controller_fd("cpu") >= 0;
  context.has_cpuset = cgroup.controller_fd("cpuset") >= 0;
  context.has_memory = cgroup.controller_fd("memory") >= 0;
  context.has_pids = cgroup.controller_fd("pids") >= 0;
  context.cpu_v2 = cgroup.controller_is_v2("cpu");
  context.memory_v2 = cgroup.controller_is_v2("memory");
  context.swap_accounting = context.has_memory && pseudo_file_exists(cgroup.controller_fd("memory"),
                                                                     context.memory_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
  context.online_cpus = online("/sys/devices/system/cpu/online");
  context.online_mems = online("/sys/devices/system/node/online");
  context.parent_cpus = parent_list(cgroup, "cpuset.cpus");
  context.parent_mems = parent_list(cgroup, "cpuset.mems");
  context.memory_in_use_bytes = context.has_memory ? memory_in_use(cgroup) : 0;

  const std::vector<LimitWrite> writes = TRY(plan_limit_writes(context, change));
  std::vector<LimitWrite> undo;
  for (const LimitWrite& write : writes) {
    const int directory = cgroup.controller_fd(write.controller);
    const std::string before = read_or_empty(directory, write.file);
    // An empty write(2) never reaches a kernel file: the newline is what empties a list.
    if (auto written = write_pseudo_file(directory, write.file, write.value.empty() ? "\n" : write.value); !written) {
      for (size_t i = undo.size(); i-- > 0;) {
        (void)write_pseudo_file(cgroup.controller_fd(undo[i].controller), undo[i].file, undo[i].value.empty() ? "\n" : undo[i].value);
      }
      Error error = std::move(written).error();
      if (error.hint.empty()) {
        error.hint = error.errno_value == EBUSY ? "more is in use than the limit allows, and it could not be reclaimed"
                                                : "the kernel refused \"" + write.value + "\"; a limit of the parent cgroup may be lower";
      }
      return std::unexpected(std::move(error));
    }
    undo.push_back({write.controller, write.file, before});
  }
  return {};
}

}  // namespace strata
