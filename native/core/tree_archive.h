// Packs a file or directory of a container, while the container may do with it what it likes, as a tar. Mounts below it are entered, but for the
// kernel's own file systems (proc, sysfs, ...), whose directories stay empty. Where one of these is what is packed, its files are read to their end,
// whatever size they have.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"

namespace strata {

struct ArchiveOptions {
  std::string name;              // of the first member; "." for a directory's own content ("./", "./a", ...)
  std::vector<std::string> emptied = {};  // regular files that are packed without their content, by their path below `node`
  const std::atomic<bool>* cancelled = nullptr;
};

struct Archived {
  uint64_t entries = 0;
  uint64_t bytes = 0;     // of the tar
  uint64_t left_out = 0;  // sockets, and files of the kernel that cannot be read to their end
};

// `node`: an O_PATH descriptor of what is packed, whatever kind it is; `output`: of the tar. Both are borrowed. What vanishes meanwhile is left out,
// what a file loses while it is read is zeros. Errors: ESTALE a directory was moved away while it was read, ECANCELED, and what reading and writing says.
[[nodiscard]] Result<Archived> archive_tree(int node, int output, const ArchiveOptions& options);

}  // namespace strata
