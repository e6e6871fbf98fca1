// `spec`: a config to start from. `features`: what this runtime understands, as the spec's features document.
#pragma once

#include <string>

#include "runtime/failure.h"

namespace strata::runtime::oci {

// Writes config.json in `bundle` (empty: the working directory); refused where there is one.
Done write_spec(const std::string& bundle, bool rootless);
std::string features_document();

}  // namespace strata::runtime::oci
