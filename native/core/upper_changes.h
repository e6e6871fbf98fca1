// What a container has changed: its upper directory against the layers below it, read only.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "layer_browse.h"
#include "node_difference.h"

namespace strata {

enum class ChangeKind {
  kAdded,
  kChanged,
  kDeleted,
  kCopiedUp,  // it is in the upper, and as it is below; said only where details are asked for, and not of directories
};

struct NodeBelow {
  size_t layer = 0;  // of `lower`
  LayerEntryKind node = LayerEntryKind::kFile;
  uint64_t size_bytes = 0;
};

struct UpperChange {
  ChangeKind kind = ChangeKind::kAdded;
  std::string path;  // "/a/b"
  LayerEntryKind node = LayerEntryKind::kFile;  // of what is there now; of what was there where it was deleted
  uint64_t size_bytes = 0;                      // of a file, the same way
  // With details alone:
  NodeDifferences differences = {};         // kChanged; none of a directory that is changed by what is in it
  std::optional<NodeBelow> below = {};      // what the layers below show there
  std::string moved_from = {};              // "/c": a redirect of overlay says that it was renamed
};

using ChangeVisitor = std::function<Status(const UpperChange&)>;

struct ChangeOptions {
  // Compares the content of files, and says in what each differs. Without it a file with the same size and time has the same content.
  bool details = false;
  const std::atomic<bool>* cancelled = nullptr;
};

// `lower`: top first; paths of directories, as `upper`. Calls `visit` sorted by path, a directory before what is in it; the root is never said.
// As docker diff: what overlay has copied up without a difference is no change, a directory is changed where its mode or owner is, or something directly in it was
// added, changed or deleted; what a deleted directory had is not said one by one.
// The upper may change meanwhile: what vanishes is left out. Errors: E2BIG too many names, ECANCELED, ENAMETOOLONG, and what reading says.
[[nodiscard]] Status find_upper_changes(const std::string& upper, const std::vector<std::string>& lower, const ChangeVisitor& visit, const ChangeOptions& options = {});

}  // namespace strata
