// `update`: new limits for a container that exists.
#pragma once

#include "runtime/oci/container.h"
#include "runtime/oci/options.h"

namespace strata::runtime::oci {

const std::vector<Option>& update_options();
// From --resources FILE ("-": stdin), or from the flags.
Outcome<CgroupResources> resources_of(const Options& options);
Done update_container(const Container& container, const CgroupResources& resources);

}  // namespace strata::runtime::oci
