// Looks at and changes single files of a container, while the container may do with them what it likes. Each path is resolved below `root`, the container's, by the kernel
// (openat2, RESOLVE_IN_ROOT): no link leads out of it. What is a mount point is neither removed nor renamed: from this mount namespace that would silently unmount it.
#pragma once

#include <cstdint>
#include <string>

#include "error.h"
#include "layer_browse.h"

namespace strata {

// The largest file that is written whole: as large as the largest that an editor opens.
inline constexpr uint64_t kMostWritten = uint64_t{256} << 20;

// A directory; a link at the end of `path` is followed.
[[nodiscard]] Result<LayerListing> list_tree(int root, const std::string& path);
struct TreeStat {
  LayerEntry entry;
  bool read_only = false;  // its mount is
};
[[nodiscard]] Result<TreeStat> stat_tree(int root, const std::string& path, bool follows);
// The content of a regular file goes to `output`; of one that the kernel makes, 32 MiB at most (EFBIG).
[[nodiscard]] Result<uint64_t> read_tree_file(int root, const std::string& path, int output);

struct WriteOptions {
  uint64_t size_bytes = 0;  // what `input` gives: EBADMSG, and nothing is changed, where it gives less or more
  bool creates = false;     // else ENOENT where nothing is
  bool replaces = false;    // else EEXIST where something is
};
// Links are followed. A file that is there stays the same file, with its mode, owner, attributes and other names, and who has it open sees the new content; one that is made
// belongs to root and has mode 0644. Nothing is changed where there is no space for it. EPERM: the kernel makes it.
[[nodiscard]] Status write_tree_file(int root, const std::string& path, int input, const WriteOptions& options);

// 0755, root's. The directory that it is in must be there.
[[nodiscard]] Status make_tree_directory(int root, const std::string& path);
// Not through a link at the end. `recursive`: with all that is in it, else ENOTEMPTY. EBUSY: something is mounted there, or below. What was removed before an error is gone.
[[nodiscard]] Status remove_tree_entry(int root, const std::string& path, bool recursive);
// EEXIST: `to` is there and `replaces` is not set. EBUSY as above; EXDEV as rename(2), which overlayfs says of directories of the image, too.
[[nodiscard]] Status rename_tree_entry(int root, const std::string& from, const std::string& to, bool replaces);

}  // namespace strata
