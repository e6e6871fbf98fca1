// Reads directories of layers with as few system calls as there can be: one open, one listing of attributes, one statx an entry.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "error.h"
#include "layer_index.h"
#include "unique_fd.h"

namespace strata {

// Below `root`, of any length, through no symbolic link and onto no other mount. Leaves no trace: no access time.
[[nodiscard]] Result<UniqueFd> open_below(int root, std::string_view path, int flags);

// What was read of a directory, not yet part of an index.
struct ScannedEntry {
  IndexedEntry entry;
  uint64_t inode;      // of a file with several names, else 0
  uint32_t name;       // in `texts`
  uint32_t target;     // of a symbolic link
  uint8_t name_length;
};

struct ScannedNames {
  std::vector<ScannedEntry> entries;
  std::string texts;
};

// IndexedFlag of the directory itself: opaque, redirected.
[[nodiscard]] uint8_t directory_marks(int directory);

// Gives `take` what is in the directory, a few thousand at a time. `buffer`: kept by the caller from one call to the next.
[[nodiscard]] Status scan_directory(int directory, std::vector<char>& buffer, ScannedNames& names, const std::function<Status(const ScannedNames&)>& take);

}  // namespace strata
