// linux.resources of an OCI config; also what `update` reads.
#pragma once

#include "core/cgroup.h"
#include "runtime/json.h"

namespace strata::runtime {

Outcome<CgroupResources> read_resources(const Json& json);

}  // namespace strata::runtime
