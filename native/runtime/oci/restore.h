// `restore`: a container from the files that `checkpoint` left.
#pragma once

#include "runtime/oci/create.h"
#include "runtime/oci/options.h"

namespace strata::runtime::oci {

const std::vector<Option>& restore_options();
// It runs when this returns, as the child of this process. On an error nothing is left behind.
Outcome<Created> restore_container(Context& context, const CreateOptions& create, const Options& options);

}  // namespace strata::runtime::oci
