// Walks a directory tree by descriptors: any depth, never through a symbolic link, and onto another mount only where that is asked for.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "error.h"
#include "unique_fd.h"

namespace strata {

enum class TreeVisit { kBefore, kAfter };

// One entry: its directory (borrowed), its name in it, and its path below the walk's root ("a/b").
struct TreeEntry {
  int parent;
  const char* name;
  const std::string& path;
  unsigned char type;  // DT_*
  size_t depth;        // 1: direct child of the root
};

enum class TreeOrder {
  kByName,    // by the bytes of the names, all of which are held on the way: at most `most_names` in the whole tree, else E2BIG
  kAsStored,  // a few thousand names are held, however large a directory is
  kRemoving,  // as stored, where `visit` removes each entry
};

struct WalkOptions {
  size_t most_names = SIZE_MAX;  // for kByName
  bool crosses_mounts = false;   // else entering another mount is EXDEV
  bool changes = false;          // others write to the tree: a directory that vanished, or became something else, is passed by
};

// Calls `visit` for every entry below `root`, directories before and after what is in them. Only one descriptor is open at a time: going up is
// openat("..") with a check of device and inode (ESTALE).
// For kBefore of a directory, visit may return false to skip what is in it (kAfter is then not called).
using TreeVisitor = std::function<Result<bool>(TreeVisit, const TreeEntry&)>;
[[nodiscard]] Status walk_tree(int root, TreeOrder order, const TreeVisitor& visit, const WalkOptions& options = {});

// Removes everything below the directory `root`.
[[nodiscard]] Status remove_tree_below(int root);
// rm -rf of `name` in `parent`; absent is success.
[[nodiscard]] Status remove_tree_at(int parent, const char* name);
[[nodiscard]] Status remove_tree(const std::string& path);

struct TreeUsage {
  uint64_t size_bytes = 0;  // of regular files, each inode once
  uint64_t entries = 0;
  bool complete = true;     // false: there is more, and the figures are of the part that was counted
};
[[nodiscard]] Result<TreeUsage> tree_usage(const std::string& path, uint64_t most_entries = UINT64_MAX);

}  // namespace strata
