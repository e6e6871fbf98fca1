// A change of an upper directory as a line of JSON: what container.diff gives (helper/protocol/copies.ts).
#pragma once

#include <string>

#include "core/upper_changes.h"

namespace strata::runtime {

// `details`: with what it is exactly, in what it differs, and what is below.
[[nodiscard]] std::string change_json(const UpperChange& change, bool details);

}  // namespace strata::runtime
