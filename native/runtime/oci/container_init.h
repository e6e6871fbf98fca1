// The first process of a container made from the command line, until it becomes the container's command. channel.h draws its conversation.
#pragma once

#include "core/cgroup.h"
#include "runtime/channel.h"
#include "runtime/init.h"
#include "runtime/launch.h"
#include "runtime/mount_plan.h"
#include "runtime/oci/namespaces.h"

namespace strata::runtime::oci {

struct InitOrder {
  const OciConfig& config;
  const MountPlan& plan;
  Cgroup& cgroup;
  NamespaceFlags made;          // namespaces that are new
  bool joins_user = false;      // in a user namespace that was there before
  Birth birth;
  bool new_keyring = true;
  bool no_pivot = false;
  bool opens_sources = false;   // without root only init, in its user namespace, can clone mounts: it gets none
  bool has_seccomp = false;
  int start_socket = -1;        // -1: kStart comes on the channel (`run`)
  std::string bundle;
  // The spec's state object for hooks in the container, with its own pid.
  std::string state_before_pid, state_after_pid;
  LaunchOptions launch;
};

// Runs in the fresh child of clone3. Never returns.
[[noreturn]] void run_container_init(Channel channel, InitOrder order);

}  // namespace strata::runtime::oci
