#include "runtime/oci/update.h"

#include <fcntl.h>

#include <charconv>

#include "core/cgroup_limits.h"
#include "core/pseudo_file.h"
#include "runtime/oci/files.h"
#include "runtime/oci/systemd_scope.h"
#include "runtime/oci_resources.h"

namespace strata::runtime::oci {
namespace {

Outcome<std::optional<std::int64_t>> number(const Options& options, const char* name) {
  const std::string text = options.value(name);
  if (text.empty()) {
    return std::optional<std::int64_t>();
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // "512M": as people write memory.
  const std::string unit(end, text.data() + text.size());
  const std::string_view units = "kKmMgGtT";
  if (error == std::errc() && unit.size() == 1 && units.find(unit.front()) != std::string_view::npos) {
    return std::optional(value << (10 * (units.find(unit.front()) / 2 + 1)));
  }
  if (error != std::errc() || !unit.empty()) {
    return refuse(ErrorCode::kInvalidRequest, std::string("--") + name + " must be a number, not '" + text + "'");
  }
  return std::optional(value);
}

// v2 limits swap alone, the options and the spec memory and swap together: the part that is not named is the one that is there.
void complete_memory(const Cgroup& cgroup, const CgroupLimits& present, CgroupResources& resources) {
  if (!cgroup.controller_is_v2("memory")) {
    return;
  }
  if (resources.memory_swap.value_or(0) > 0 && resources.memory_limit.value_or(0) == 0) {
    resources.memory_limit = present.memory_max_bytes ? static_cast<std::int64_t>(*present.memory_max_bytes) : -1;
  } else if (resources.memory_limit.value_or(0) > 0 && resources.memory_swap.value_or(0) == 0 && present.memory_swap_max_bytes) {
    resources.memory_swap = static_cast<std::int64_t>(*present.memory_swap_max_bytes);
  }
}

}  // namespace

const std::vector<Option>& update_options() {
  static const std::vector<Option> options = {
      {"resources", 'r'},  {"blkio-weight"},       {"cpu-period"},  {"cpu-quota"}, {"cpu-burst"},     {"cpu-share"},        {"cpu-rt-period"}, {"cpu-rt-runtime"}, {"cpuset-cpus"},
      {"cpuset-mems"},     {"kernel-memory"},      {"kernel-memory-tcp"}, {"memory"}, {"memory-reservation"}, {"memory-swap"}, {"pids-limit"}, {"l3-cache-schema"}, {"mem-bw-schema"},
      {"cpu-idle"},
  };
  return options;
}

Outcome<CgroupResources> resources_of(const Options& options) {
  if (options.has("l3-cache-schema") || options.has("mem-bw-schema")) {
    return refuse(ErrorCode::kInvalidRequest, "--l3-cache-schema and --mem-bw-schema are not available", 0, "this runtime does not manage resctrl groups");
  }
  if (const std::string file = options.value("resources"); !file.empty()) {
    const std::string text = file == "-" ? TRY(read_to_end(0, "standard input")) : TRY(read_whole_file(AT_FDCWD, file));
    const JsonDocument document = TRY(JsonDocument::parse(text));
    return read_resources(document.root());
  }
  const auto natural = [](const std::optional<std::int64_t>& value) {
    return value && *value > 0 ? std::optional(static_cast<std::uint64_t>(*value)) : std::optional<std::uint64_t>();
  };
  CgroupResources resources;
  resources.cpu_period_us = natural(TRY(number(options, "cpu-period")));
  resources.cpu_quota_us = TRY(number(options, "cpu-quota"));
  resources.cpu_shares = natural(TRY(number(options, "cpu-share")));
  if (const auto burst = TRY(number(options, "cpu-burst")); burst && *burst >= 0) {
    resources.cpu_burst_us = static_cast<std::uint64_t>(*burst);
  }
  resources.realtime_period_us = natural(TRY(number(options, "cpu-rt-period")));
  resources.realtime_runtime_us = TRY(number(options, "cpu-rt-runtime"));
  if (const auto idle = TRY(number(options, "cpu-idle"))) {
    resources.cpu_idle = *idle != 0;
  }
  if (options.has("cpuset-cpus")) {
    resources.cpus = options.value("cpuset-cpus");
  }
  if (options.has("cpuset-mems")) {
    resources.mems = options.value("cpuset-mems");
  }
  resources.memory_limit = TRY(number(options, "memory"));
  resources.memory_reservation = TRY(number(options, "memory-reservation"));
  resources.memory_swap = TRY(number(options, "memory-swap"));
  resources.pids_limit = TRY(number(options, "pids-limit"));
  resources.block_weight = natural(TRY(number(options, "blkio-weight")));
  return resources;
}

Done update_container(const Container& container, const CgroupResources& wanted) {
  const Phase phase = container.phase();
  if (phase == Phase::kStopped || phase == Phase::kCreating) {
    return refuse(ErrorCode::kInvalidState, std::string("container not running: it is ") + phase_name(phase));
  }
  Cgroup cgroup = TRY(container.open_cgroup());
  CgroupResources resources = wanted;
  resources.devices.clear();  // an update's device list would start from "deny everything"
  const CgroupLimits present = TRY(classify(read_limits(cgroup), ErrorCode::kCgroupFailed));
  // One of a pair goes with the other as it is.
  if (resources.cpu_quota_us && !resources.cpu_period_us) {
    resources.cpu_period_us = present.cpu_period_us;
  } else if (resources.cpu_period_us && !resources.cpu_quota_us && present.cpu_quota_us) {
    resources.cpu_quota_us = present.cpu_quota_us;
  }
  if (resources.pids_limit && *resources.pids_limit == 0) {
    resources.pids_limit.reset();  // "as it is"
  }
  complete_memory(cgroup, present, resources);
  if (!container.record.systemd_unit.empty()) {
    TRY(update_scope(container.record.systemd_unit, resources, cgroup.host().mode() == CgroupMode::kV2));
  }
  return classify(cgroup.apply(resources), ErrorCode::kLimitRejected, "update the limits");
}

}  // namespace strata::runtime::oci
