// Device rules of a container: devices.allow/deny on v1, an eBPF program on v2.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "cgroup.h"
#include "error.h"

namespace strata {

struct DeviceCommand {
  bool allow;
  std::string text;  // "c 1:3 rwm"
};

// The writes for a v1 hierarchy, in order. The first one is always "deny everything".
[[nodiscard]] std::vector<DeviceCommand> v1_device_commands(const std::vector<CgroupResources::DeviceRule>& rules);

// A BPF_PROG_TYPE_CGROUP_DEVICE program that decides as v1 does: rules are checked from the last to the first; each access bit asked for
// is decided by the last rule that names it; what no rule names is denied.
[[nodiscard]] std::vector<bpf_insn> compile_device_program(const std::vector<CgroupResources::DeviceRule>& rules);

// Loads the program and attaches it to the v2 cgroup `directory`, then detaches the ones that were attached before.
[[nodiscard]] Status attach_device_program(int directory, const std::vector<bpf_insn>& program);

}  // namespace strata
