// A user namespace that nothing lives in.
#pragma once

#include <vector>

#include "core/unique_fd.h"
#include "runtime/oci_config.h"

namespace strata::runtime {

// It exists for its maps, as long as its descriptor.
Outcome<UniqueFd> make_mapping_namespace(const std::vector<IdMapping>& uid_map, const std::vector<IdMapping>& gid_map);

}  // namespace strata::runtime
