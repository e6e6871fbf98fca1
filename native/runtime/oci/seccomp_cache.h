// Compiled seccomp programs by the digest of their profile, below --root: compiling Docker's default takes 8-10 ms of cpu, reading the program none.
#pragma once

#include "core/unique_fd.h"
#include "runtime/json.h"

namespace strata::runtime::oci {

// `text`: anything that is the same for the same profile only. A cache that cannot be used is no error.
Outcome<UniqueFd> seccomp_program(const std::string& root, const Json& profile, std::string_view text);

}  // namespace strata::runtime::oci
