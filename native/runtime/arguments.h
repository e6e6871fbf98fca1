// `strata-runtime supervise`'s command line.
#pragma once

#include <string>
#include <vector>

#include "runtime/supervisor.h"

namespace strata::runtime {

Outcome<SupervisorParams> parse_supervise(const std::vector<std::string>& arguments);

}  // namespace strata::runtime
