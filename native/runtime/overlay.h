// The container's root as a detached mount, made by the supervisor in the host's namespace: nothing appears in any mount table, and the
// length of an option string is no limit for the number of layers.
#pragma once

#include <string>
#include <vector>

#include "core/sys.h"
#include "runtime/failure.h"

namespace strata::runtime {

struct OverlayParams {
  std::vector<std::string> lower;  // top first
  std::string upper, work;  // both empty: nothing can be written
  bool is_volatile = false;
  bool is_read_only = false;
};

struct RootIdentity {
  int user_namespace = -1;  // of the container; -1: none
  uid_t uid = 0;            // its root on the host
  gid_t gid = 0;
};

// `private_place`: a directory that may be made to attach id-mapped layers at, in a mount namespace of this process's own, on kernels that need it.
Outcome<UniqueFd> make_overlay(Sys& sys, const OverlayParams& params, const RootIdentity& root, const std::string& private_place);
// Undoes what the line above did to `private_place`; nothing where it did nothing.
void release_private_place(const std::string& private_place);
// A bind of a directory as root, for a config without overlay.
// `propagation`: MS_SLAVE where what the host mounts below it later is to be seen in it; 0: MS_PRIVATE.
Outcome<UniqueFd> make_bound_root(Sys& sys, const std::string& path, const RootIdentity& root, std::uint64_t propagation = 0);

}  // namespace strata::runtime
