// Paths below a root that a container or image shaped: resolved by the kernel (openat2 RESOLVE_IN_ROOT), used fd-relative, made where missing.
#pragma once

#include <string>

#include "core/sys.h"

namespace strata {

// An O_PATH descriptor of `path` below `root`; links are followed inside the root only. ENOENT where it is missing.
Result<UniqueFd> open_below(Sys& sys, int root, const std::string& path);

// The same for a directory, made with its parents (0755) where missing.
Result<UniqueFd> open_or_make_directory(Sys& sys, int root, const std::string& path);

// The same for a mount point of something that is no directory: an empty file is made where nothing is.
Result<UniqueFd> open_or_make_file(Sys& sys, int root, const std::string& path);

// "/a/b" → {"/a", "b"}; "/a" → {"/", "a"}.
struct SplitPath {
  std::string parent, name;
};
SplitPath split_path(const std::string& path);

}  // namespace strata
