// Sockets of the host that the runtime hands something to.
#pragma once

#include <string>

#include "core/unique_fd.h"
#include "runtime/failure.h"

namespace strata::runtime::oci {

// `address` is a path, or with a leading '@' a name of the abstract name space; `type` of socket(2). Errors have `code` and call the socket `name`.
Outcome<UniqueFd> connect_to(const std::string& address, int type, ErrorCode code, const std::string& name);

}  // namespace strata::runtime::oci
