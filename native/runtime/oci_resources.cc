#include "runtime/oci_resources.h"

namespace strata::runtime {
namespace {

Outcome<std::vector<CgroupResources::DeviceRule>> read_device_rules(const Json& json) {
  std::vector<CgroupResources::DeviceRule> rules;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    CgroupResources::DeviceRule rule;
    rule.allow = TRY(entry["allow"].boolean());
    const std::string type = TRY(entry["type"].text_or("a"));
    if (type != "a" && type != "b" && type != "c") {
      return entry["type"].wrong("a, b or c");
    }
    rule.type = type.front();
    // -1 is how some engines write "any".
    const auto major = TRY(entry["major"].optional_integer(-1));
    const auto minor = TRY(entry["minor"].optional_integer(-1));
    rule.major = major == -1 ? std::nullopt : major;
    rule.minor = minor == -1 ? std::nullopt : minor;
    rule.access = TRY(entry["access"].text_or(""));
    if (rule.access.find_first_not_of("rwm") != std::string::npos) {
      return entry["access"].wrong("letters of rwm");
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

Outcome<std::optional<std::uint64_t>> optional_natural(const Json& json) {
  return json.absent() ? std::optional<std::uint64_t>() : std::optional<std::uint64_t>(TRY(json.natural()));
}

Done read_cpu(const Json& cpu, CgroupResources& resources) {
  resources.cpu_quota_us = TRY(cpu["quota"].optional_integer(-1));
  if (const auto period = TRY(cpu["period"].optional_integer(0)); period.value_or(0) != 0) {
    resources.cpu_period_us = static_cast<std::uint64_t>(*period);
  }
  if (const auto shares = TRY(cpu["shares"].optional_integer(0)); shares.value_or(0) != 0) {
    resources.cpu_shares = static_cast<std::uint64_t>(*shares);
  }
  if (!cpu["cpus"].absent()) {
    resources.cpus = TRY(cpu["cpus"].text());
  }
  if (!cpu["mems"].absent()) {
    resources.mems = TRY(cpu["mems"].text());
  }
  resources.cpu_burst_us = TRY(optional_natural(cpu["burst"]));
  if (const auto idle = TRY(cpu["idle"].optional_integer(0, 1))) {
    resources.cpu_idle = *idle == 1;
  }
  resources.realtime_runtime_us = TRY(cpu["realtimeRuntime"].optional_integer(-1));
  resources.realtime_period_us = TRY(optional_natural(cpu["realtimePeriod"]));
  return {};
}

Done read_memory(const Json& memory, CgroupResources& resources) {
  resources.memory_limit = TRY(memory["limit"].optional_integer(-1));
  resources.memory_swap = TRY(memory["swap"].optional_integer(-1));
  resources.memory_reservation = TRY(memory["reservation"].optional_integer(-1));
  // Some engines write "as it is" as -1, or as the largest number.
  if (!memory["swappiness"].absent() && memory["swappiness"].integer(0, 200)) {
    resources.swappiness = TRY(optional_natural(memory["swappiness"]));
  }
  resources.memory_tcp = TRY(memory["kernelTCP"].optional_integer(-1));
  resources.disable_oom_killer = TRY(memory["disableOOMKiller"].boolean_or(false));
  resources.check_before_update = TRY(memory["checkBeforeUpdate"].boolean_or(false));
  return {};
}

Outcome<std::vector<CgroupResources::BlockDevice>> read_block_devices(const Json& json, const char* value) {
  std::vector<CgroupResources::BlockDevice> devices;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    // The spec has a weight and a leafWeight in one list, of which an entry may have one.
    if (const auto number = TRY(optional_natural(entry[value]))) {
      devices.push_back({TRY(entry["major"].natural()), TRY(entry["minor"].natural()), *number});
    }
  }
  return devices;
}

Done read_block_io(const Json& block, CgroupResources& resources) {
  if (const auto weight = TRY(block["weight"].optional_integer(0, 1000)); weight.value_or(0) != 0) {
    resources.block_weight = static_cast<std::uint64_t>(*weight);
  }
  if (const auto weight = TRY(block["leafWeight"].optional_integer(0, 1000)); weight.value_or(0) != 0) {
    resources.block_leaf_weight = static_cast<std::uint64_t>(*weight);
  }
  resources.block_weights = TRY(read_block_devices(block["weightDevice"], "weight"));
  resources.block_leaf_weights = TRY(read_block_devices(block["weightDevice"], "leafWeight"));
  resources.read_bps = TRY(read_block_devices(block["throttleReadBpsDevice"], "rate"));
  resources.write_bps = TRY(read_block_devices(block["throttleWriteBpsDevice"], "rate"));
  resources.read_iops = TRY(read_block_devices(block["throttleReadIOPSDevice"], "rate"));
  resources.write_iops = TRY(read_block_devices(block["throttleWriteIOPSDevice"], "rate"));
  return {};
}

Done read_rest(const Json& json, CgroupResources& resources) {
  const Json huge = json["hugepageLimits"];
  for (std::size_t i = 0, size = TRY(huge.array_size()); i < size; ++i) {
    const Json entry = huge.at(i);
    std::string page = TRY(entry["pageSize"].text());
    if (page.find('/') != std::string::npos) {
      return entry["pageSize"].wrong("a size as in \"2MB\"");
    }
    resources.huge_pages.emplace_back(std::move(page), TRY(entry["limit"].natural()));
  }
  const Json network = json["network"];
  resources.network_class = TRY(optional_natural(network["classID"]));
  const Json priorities = network["priorities"];
  for (std::size_t i = 0, size = TRY(priorities.array_size()); i < size; ++i) {
    const Json entry = priorities.at(i);
    resources.network_priorities.emplace_back(TRY(entry["name"].text()), TRY(entry["priority"].natural()));
  }
  const Json rdma = json["rdma"];
  for (const std::string& device : TRY(rdma.names())) {
    const Json entry = rdma[device.c_str()];
    resources.rdma.push_back({device, TRY(optional_natural(entry["hcaHandles"])), TRY(optional_natural(entry["hcaObjects"]))});
  }
  const Json unified = json["unified"];
  for (const std::string& file : TRY(unified.names())) {
    resources.unified.emplace_back(file, TRY(unified[file.c_str()].text()));
  }
  return {};
}

}  // namespace

Outcome<CgroupResources> read_resources(const Json& json) {
  CgroupResources resources;
  if (json.absent()) {
    return resources;
  }
  TRY(json.object());
  TRY(read_cpu(json["cpu"], resources));
  TRY(read_memory(json["memory"], resources));
  TRY(read_block_io(json["blockIO"], resources));
  resources.pids_limit = TRY(json["pids"]["limit"].optional_integer(-1));
  resources.devices = TRY(read_device_rules(json["devices"]));
  TRY(read_rest(json, resources));
  return resources;
}

}  // namespace strata::runtime
