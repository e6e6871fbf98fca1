// The container's first process, until it becomes the container's command.
#pragma once

#include "core/cgroup_host.h"
#include "runtime/channel.h"
#include "runtime/oci_config.h"

namespace strata::runtime {

struct NamespaceFlags {
  bool mount = true, pid = true;  // a sandbox always has them
  bool network = false, uts = false, ipc = false, cgroup = false, user = false, time = false;
  [[nodiscard]] std::vector<std::string> names() const;
};

// Runs in the fresh child of clone3, which shares nothing with the supervisor but a copy of its memory. Never returns.
[[noreturn]] void run_init(Channel channel, const NamespaceFlags& namespaces, const CgroupHost& cgroups);

// What kCreate's text says.
struct CreateOrder {
  bool wait_for_start = false, has_seccomp = false, has_init_program = false;
  [[nodiscard]] std::string encode() const { return {wait_for_start ? 'c' : 'r', has_seccomp ? 's' : '-', has_init_program ? 'i' : '-'}; }
  static CreateOrder decode(const std::string& text) {
    const bool whole = text.size() == 3;
    return {whole && text[0] == 'c', whole && text[1] == 's', whole && text[2] == 'i'};
  }
};

// Steps that every first process takes, whoever started it.
Done loopback_up();
// What is mounted or unmounted on the host goes on to be seen here, nothing goes the other way. `propagation`: MS_SLAVE, or what a config says, with MS_REC.
Done set_own_propagation(unsigned long propagation);
void join_new_keyring();
// Makes the time namespace, whose first process the next execve makes this one. `offsets_file`: /proc/self/timens_offsets, opened while the host's /proc is in sight.
Done set_time_offsets(const OciConfig& config, int offsets_file);
Done set_names(const OciConfig& config);

// The end of a stage that failed: says why, and exits.
[[noreturn]] void give_up(const Channel& channel, const Failure& failure);

}  // namespace strata::runtime
