// Unpacks a tar into a directory of a container, while the container may do with it what it likes: swap directories for links, remove, rename.
// Nothing is written outside of the container's root, and nothing but what was made here gets an owner, a mode or a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "error.h"

namespace strata {

struct ExtractOptions {
  // As the archive says. Else what is unpacked belongs to root, without set-id bits, and of the attributes it keeps user.* alone.
  bool keeps_owners = false;
  uint64_t most_memory = uint64_t{256} << 20;  // for what waits for the end: links, and the times of directories
  const std::atomic<bool>* cancelled = nullptr;
};

struct Extracted {
  uint64_t entries = 0;
  uint64_t bytes = 0;     // of the files, without their holes
  uint64_t left_out = 0;  // device nodes that a user namespace cannot have
};

// `source`: of the tar, plain or compressed. `root`: the container's; `directory`: a path in it that is one. Both descriptors are borrowed.
// The rules: names are relative to `directory`, and ".." is refused (EXDEV). Links that were there before are followed inside the root; those of the archive are made
// last, so that nothing of it goes through them. Directories are merged, and stay as they are where they were there before; files and links are replaced whole, by a rename;
// a directory never replaces anything else (ENOTDIR), nor anything else a directory (EISDIR).
// What was unpacked before an error stays. Errors: EBADMSG a damaged archive, EXDEV, ENOTDIR, EISDIR, E2BIG too much for the memory, ECANCELED, and what the kernel says.
[[nodiscard]] Result<Extracted> extract_archive(int source, int root, const std::string& directory, const ExtractOptions& options);

}  // namespace strata
