#pragma once

#include <string_view>

#include "core/error.h"

namespace strata::runtime::oci {

// One message with a descriptor (SCM_RIGHTS, unix(7)) to a connected socket: how engines are handed a terminal or a seccomp listener.
[[nodiscard]] Status send_fd(int socket, std::string_view text, int fd);

}  // namespace strata::runtime::oci
