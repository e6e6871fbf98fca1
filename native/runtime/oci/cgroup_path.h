// Where a container's cgroup is, and the device rules that every container has.
#pragma once

#include <string>

#include "core/cgroup.h"
#include "runtime/failure.h"

namespace strata::runtime::oci {

// linux.cgroupsPath as a path below every hierarchy. Empty: a default. With the systemd driver "slice:prefix:name" becomes the path that
// systemd gives the scope.
Outcome<std::string> cgroup_path_of(const std::string& cgroups_path, const std::string& id, bool systemd);

// As runc: whatever the config denies, a container can make any node and use the standard devices and its terminals.
void allow_standard_devices(CgroupResources& resources);

}  // namespace strata::runtime::oci
