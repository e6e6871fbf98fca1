// Copies what is below one directory into another: files, links, devices, owners, modes and times; by descriptors, never through a link.
#pragma once

#include "error.h"

namespace strata {

[[nodiscard]] Status copy_tree_below(int from, int to);

}  // namespace strata
