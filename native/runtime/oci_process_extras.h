// Members of an OCI process (and linux.personality) that are numbers to the kernel and names in the config.
#pragma once

#include "runtime/oci_config.h"

namespace strata::runtime {

Outcome<std::optional<int>> read_io_priority(const Json& json);
Outcome<std::optional<OciScheduler>> read_scheduler(const Json& json);
Outcome<std::optional<unsigned long>> read_personality(const Json& json);

// A list of cpus as cpuset(7) writes it, each below CPU_SETSIZE.
Outcome<std::vector<unsigned>> read_cpu_list(const Json& json);

// No cpu: as it is.
Done apply_cpu_affinity(const std::vector<unsigned>& cpus);
// Of the calling process, inherited by what it executes. sched_setattr and ioprio_set need their capabilities: before credentials are dropped.
Done apply_io_priority(int priority);
Done apply_scheduler(const OciScheduler& scheduler);
// Writes the AppArmor profile or SELinux label of the next execve. Asked for and absent on the host is an error.
Done apply_security_label(const OciProcess& process);

}  // namespace strata::runtime
