// A container's cgroup as a scope of systemd, which then knows of it and leaves what is below to the container (Delegate).
#pragma once

#include <sys/types.h>

#include <string>

#include "core/cgroup.h"
#include "runtime/failure.h"

namespace strata::runtime::oci {

// "slice:prefix:name", the slice "system.slice" where it is left out. `unit` is empty where the name is a slice's.
struct SystemdScope {
  std::string slice, unit;
};
Outcome<SystemdScope> parse_systemd_scope(const std::string& cgroups_path, const std::string& id);

// A process that holds the scope until the container's own is in it: systemd makes none without one and removes an empty one.
class ScopeHolder {
 public:
  ScopeHolder() = default;
  explicit ScopeHolder(pid_t pid) : pid_(pid) {}
  ScopeHolder(ScopeHolder&& other) noexcept : pid_(other.pid_) { other.pid_ = -1; }
  ScopeHolder& operator=(ScopeHolder&& other) noexcept;
  ~ScopeHolder() { release(); }
  void release();

 private:
  pid_t pid_ = -1;
};

Outcome<ScopeHolder> start_scope(const SystemdScope& scope, const std::string& id, const CgroupResources& resources, bool v2);
// As the limits were changed in the cgroup, or systemd would write its own again.
Done update_scope(const std::string& unit, const CgroupResources& resources, bool v2);
// Nobody may live in it any more, or systemd waits for them. A unit that is gone is success.
Done stop_scope(const std::string& unit);

}  // namespace strata::runtime::oci
