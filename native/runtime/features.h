// What this kernel can do, probed.
#pragma once

#include <string>

namespace strata::runtime {

// A JSON object: feature name → {available, detail}.
std::string features_json();

}  // namespace strata::runtime
