#include "cgroup_rare_limits.h"

#include "pseudo_file.h"

namespace strata {

namespace {

using Writes = std::vector<LimitWrite>;
using Devices = std::vector<CgroupResources::BlockDevice>;

std::string device_name(const CgroupResources::BlockDevice& device) { return std::to_string(device.major) + ":" + std::to_string(device.minor); }

void plan_cpu(const CgroupResources& resources, bool v2, Writes& writes) {
  if (resources.cpu_burst_us) {
    writes.push_back({"cpu", v2 ? "cpu.max.burst" : "cpu.cfs_burst_us", std::to_string(*resources.cpu_burst_us)});
  }
  if (resources.cpu_idle) {
    writes.push_back({"cpu", "cpu.idle", *resources.cpu_idle ? "1" : "0"});
  }
  // v2 has no budget for real time: the kernel's own files say ENOENT then.
  if (resources.realtime_period_us.value_or(0) != 0) {
    writes.push_back({"cpu", "cpu.rt_period_us", std::to_string(*resources.realtime_period_us)});
  }
  if (resources.realtime_runtime_us.value_or(0) != 0) {
    writes.push_back({"cpu", "cpu.rt_runtime_us", std::to_string(*resources.realtime_runtime_us)});
  }
}

void plan_memory(const CgroupResources& resources, bool v2, Writes& writes) {
  if (resources.swappiness && !v2) {
    writes.push_back({"memory", "memory.swappiness", std::to_string(*resources.swappiness)});
  }
  if (resources.disable_oom_killer && !v2) {
    writes.push_back({"memory", "memory.oom_control", "1"});
  }
  if (resources.memory_tcp.value_or(0) != 0 && !v2) {
    writes.push_back({"memory", "memory.kmem.tcp.limit_in_bytes", std::to_string(*resources.memory_tcp), true});
  }
}

// The BFQ scheduler has files of its own, in v1's numbers on v2 too; without it v2 has a scale of its own and v1 what CFQ left behind.
void plan_block_weights(const CgroupResources& resources, bool v2, const HasFile& has_file, Writes& writes) {
  if (resources.block_weight.value_or(0) == 0 && resources.block_weights.empty()) {
    return;
  }
  const bool bfq = v2 ? has_file("io", "io.bfq.weight") : !has_file("blkio", "blkio.weight") && has_file("blkio", "blkio.bfq.weight");
  const std::string controller = v2 ? "io" : "blkio";
  const std::string file = controller + (bfq ? ".bfq.weight" : ".weight");
  const auto text = [&](uint64_t weight) { return std::to_string(v2 && !bfq ? block_weight_to_io(weight) : weight); };
  if (resources.block_weight.value_or(0) != 0) {
    writes.push_back({controller, file, text(*resources.block_weight)});
  }
  for (const auto& device : resources.block_weights) {
    writes.push_back({controller, v2 ? file : file + "_device", device_name(device) + " " + text(device.value)});
  }
}

void plan_block(const CgroupResources& resources, bool v2, const HasFile& has_file, Writes& writes) {
  plan_block_weights(resources, v2, has_file, writes);
  if (resources.block_leaf_weight.value_or(0) != 0 && !v2) {
    writes.push_back({"blkio", "blkio.leaf_weight", std::to_string(*resources.block_leaf_weight)});
  }
  for (const auto& device : resources.block_leaf_weights) {
    if (!v2) {
      writes.push_back({"blkio", "blkio.leaf_weight_device", device_name(device) + " " + std::to_string(device.value)});
    }
  }
  const struct {
    const Devices& devices;
    const char *v1_file, *v2_key;
  } throttles[] = {{resources.read_bps, "blkio.throttle.read_bps_device", "rbps"},
                   {resources.write_bps, "blkio.throttle.write_bps_device", "wbps"},
                   {resources.read_iops, "blkio.throttle.read_iops_device", "riops"},
                   {resources.write_iops, "blkio.throttle.write_iops_device", "wiops"}};
  for (const auto& throttle : throttles) {
    for (const auto& device : throttle.devices) {
      writes.push_back(v2 ? LimitWrite{"io", "io.max", device_name(device) + " " + throttle.v2_key + "=" + (device.value == 0 ? "max" : std::to_string(device.value))}
                          : LimitWrite{"blkio", throttle.v1_file, device_name(device) + " " + std::to_string(device.value)});
    }
  }
}

// A file of the unified tree by name: only in the container's own directory.
Status plan_unified(const CgroupResources& resources, const std::function<bool(std::string_view)>& is_v2, Writes& writes) {
  for (const auto& [file, value] : resources.unified) {
    const std::string controller = file.substr(0, file.find('.'));
    if (file.find('/') != std::string::npos || controller.empty() || controller == file) {
      return fail(EINVAL, "set '" + file + "' of linux.resources.unified", "it must name a file of cgroup v2, as in \"memory.high\"");
    }
    const bool core_file = controller == "cgroup";
    if (!core_file && !is_v2(controller)) {
      return fail(ENOTSUP, "set '" + file + "' of linux.resources.unified", "this host has the controller on cgroup v1");
    }
    writes.push_back({core_file ? "" : controller, file, value});
  }
  return {};
}

}  // namespace

uint64_t block_weight_to_io(uint64_t weight) { return weight <= 10 ? 1 : 1 + (weight - 10) * 9999 / 990; }

Status check_unified_memory(const CgroupResources& resources, std::string_view usage) {
  const int64_t memory = resources.memory_limit.value_or(0);
  const int64_t total = resources.memory_swap.value_or(0);
  if (total > 0 && memory == 0) {
    return fail(EINVAL, "set 'memory.swap.max'", "unable to set swap limit without memory limit: linux.resources.memory needs limit beside swap");
  }
  if (total > 0 && memory > 0 && total < memory) {
    return fail(EINVAL, "set 'memory.swap.max'", "memory+swap limit should be >= memory limit");
  }
  const auto used = static_cast<int64_t>(parse_u64(usage).value_or(0));
  if ((memory > 0 && memory <= used) || (total > 0 && total <= used)) {
    return fail(EBUSY, "set 'memory.max'", "checkBeforeUpdate: " + std::to_string(used) + " bytes are in use");
  }
  return {};
}

Result<std::vector<LimitWrite>> plan_rare_writes(const CgroupResources& resources, const std::function<bool(std::string_view)>& is_v2, const HasFile& has_file) {
  Writes writes;
  plan_cpu(resources, is_v2("cpu"), writes);
  plan_memory(resources, is_v2("memory"), writes);
  plan_block(resources, is_v2("blkio") && is_v2("io"), has_file, writes);
  for (const auto& [size, limit] : resources.huge_pages) {
    const char* const kind = is_v2("hugetlb") ? "max" : "limit_in_bytes";
    writes.push_back({"hugetlb", "hugetlb." + size + "." + kind, std::to_string(limit)});
    // Reservations count since Linux 5.7.
    writes.push_back({"hugetlb", "hugetlb." + size + ".rsvd." + kind, std::to_string(limit), true});
  }
  if (resources.network_class) {
    writes.push_back({"net_cls", "net_cls.classid", std::to_string(*resources.network_class)});
  }
  for (const auto& [interface, priority] : resources.network_priorities) {
    writes.push_back({"net_prio", "net_prio.ifpriomap", interface + " " + std::to_string(priority)});
  }
  for (const auto& rdma : resources.rdma) {
    std::string text = rdma.device;
    text += rdma.handles ? " hca_handle=" + std::to_string(*rdma.handles) : "";
    text += rdma.objects ? " hca_object=" + std::to_string(*rdma.objects) : "";
    writes.push_back({"rdma", "rdma.max", text});
  }
  TRY(plan_unified(resources, is_v2, writes));
  return writes;
}

}  // namespace strata
