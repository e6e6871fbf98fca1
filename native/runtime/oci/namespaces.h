// Clones a container's first process: into namespaces that exist, and into new ones.
#pragma once

#include <functional>

#include "core/cgroup.h"
#include "runtime/init.h"
#include "runtime/oci_config.h"

namespace strata::runtime::oci {

NamespaceFlags new_namespaces(const OciConfig& config);
// What no kernel can do, or would touch the host: refused before anything is made.
Done check_namespaces(const OciConfig& config);

struct FirstProcess {
  pid_t pid = -1;  // 0 in the child
  UniqueFd handle;
};
// Which cgroups the child is in already.
enum class Entered { kNone, kUnified, kAll };
struct Birth {
  Entered entered = Entered::kNone;
  bool left_host = false;  // its root is an empty one; what takes the host's /proc is done: oomScoreAdj, the time namespace
};

// In the child `run` is called, which must not return. Where namespaces are joined there is a process in between that joins and clones a sibling of
// itself: this process stays where it is, and still is the parent of the first one. A pid namespace that is joined has others in it, who may look into
// the child: it is born with the descriptors in `kept` (and those of the namespaces) alone.
// Where `pivots` and nothing else of the config stands against it, it is born without the host's root too: in a mount namespace with an empty one.
Outcome<FirstProcess> clone_first_process(const OciConfig& config, Cgroup& cgroup, const std::vector<int>& kept, bool pivots, const std::function<void(const Birth&)>& run);

}  // namespace strata::runtime::oci
