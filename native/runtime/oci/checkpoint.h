// `checkpoint`: a container's processes go into files, from which `restore` makes them again.
#pragma once

#include "runtime/oci/container.h"
#include "runtime/oci/context.h"
#include "runtime/oci/options.h"

namespace strata::runtime::oci {

const std::vector<Option>& checkpoint_options();
// The container has ended then and is removed, but for --leave-running and --pre-dump.
Done checkpoint_container(Context& context, const Container& container, const Options& options);

}  // namespace strata::runtime::oci
