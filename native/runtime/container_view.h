// The files of a container as the container sees them, for a process that copies them. Nothing of the container is run, nothing is mounted where anybody could see it:
// a running container's files are reached through its init's root, a stopped one's through a detached overlay of its own. This process stays in the host's mount
// namespace, so that /proc is the host's.
#pragma once

#include <string>
#include <vector>

#include "core/sys.h"
#include "runtime/failure.h"
#include "runtime/json.h"
#include "runtime/oci_config.h"
#include "runtime/overlay.h"

namespace strata::runtime {

struct RunningView {
  pid_t pid = -1;           // of the container's init, on the host
  std::string cgroup_path;  // where it must be: a pid may be another process's by now
};

struct StoppedView {
  OverlayParams overlay;
  std::vector<IdMapping> uid_map, gid_map;  // both empty: it has no user namespace
  std::string private_place;                // make_overlay's
};

// {"pid", "cgroupPath"} or {"overlay": {"lower": [...], "upper", "work", "readOnly"}, "uidMappings", "gidMappings", "privatePlace"}.
struct ViewParams {
  std::optional<RunningView> running;
  StoppedView stopped;
};
Outcome<ViewParams> read_view(const Json& json);

// The container's root: paths in it must be resolved with kResolveInRoot. `alone`: without what is mounted below it.
// Where the container has a user namespace this process is that namespace's root from then on: it can do no more to the host than the container's root,
// and ids are the container's. Once, in a process with one thread. INVALID_STATE: the container runs no more.
Outcome<UniqueFd> open_view(Sys& sys, const ViewParams& params, bool alone);

}  // namespace strata::runtime
