// What a stack of layers holds, path by path: which layers have it, who wins, what is hidden, and what each layer's bytes are still good for.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "layer_paths.h"
#include "unique_fd.h"

namespace strata {

enum class IndexedKind : uint8_t { kFile, kDirectory, kSymlink, kOther, kWhiteout };

enum IndexedFlag : uint8_t {
  kOpaque = 1,        // a directory that hides the same directory of the layers below
  kRedirected = 2,    // a directory that overlay renamed: what is merged with it lies below under another name
  kMetacopy = 4,      // a file whose data lies in a layer below
  kOtherName = 8,     // a file that this layer holds under another name as well, which its bytes are counted for
  kSeen = 16,         // what is to be seen under this path, or merged with it
  kBytesSeen = 32,    // its bytes are, under this or another name
  kHasChildren = 64,  // in this layer
};

// One path in one layer. 48 bytes, a million of them 48 MB.
struct IndexedEntry {
  uint64_t size;      // of a file, of the target of a link
  int64_t mtime_ns;   // of a symbolic link: where its target is in the texts
  uint32_t path, parent;  // the entry of its directory; kNoId for a root
  uint32_t below;     // the entry of the next layer below that has this path
  uint32_t uid, gid;
  uint16_t layer, mode;  // mode: 07777
  uint16_t depth;        // 0: a root
  IndexedKind kind;
  uint8_t flags;

  [[nodiscard]] bool has(IndexedFlag flag) const { return (flags & flag) != 0; }
  // What it costs in its layer.
  [[nodiscard]] uint64_t stored() const { return kind == IndexedKind::kFile && !has(kOtherName) && !has(kMetacopy) ? size : 0; }
};

struct IndexOptions {
  uint64_t max_entries = 4'000'000;
  uint64_t max_text_bytes = uint64_t{512} << 20;  // of names and targets of links
  uint16_t max_depth = 4096;  // of directories in each other: what a container makes may be as deep as it likes
  unsigned threads = 2;
  const std::atomic<bool>* cancelled = nullptr;
};

struct LayerTotals {
  uint64_t entries = 0, whiteouts = 0, opaque = 0, redirects = 0, metacopies = 0;
  uint64_t stored_bytes = 0;      // of its files, each inode once
  uint64_t seen_bytes = 0;        // of these, what the whole stack still shows
  uint64_t cumulative_bytes = 0;  // stored, with those below
};

// Read only after build(): any number of threads may ask.
class LayerIndex {
 public:
  // `layers`: directories, top first. What vanishes meanwhile is left out. E2BIG: more than the options allow; ECANCELED.
  [[nodiscard]] static Result<LayerIndex> build(const std::vector<std::string>& layers, const IndexOptions& options = {});

  [[nodiscard]] const LayerPaths& paths() const { return paths_; }
  [[nodiscard]] uint32_t entry_count() const { return entries_.size(); }
  [[nodiscard]] const IndexedEntry& entry(uint32_t id) const { return entries_[id]; }
  // The entry of the topmost layer that has the path; kNoId where none has it.
  [[nodiscard]] uint32_t top_entry(uint32_t path) const { return tops_[path]; }
  [[nodiscard]] const std::vector<LayerTotals>& totals() const { return totals_; }
  [[nodiscard]] std::string_view link_target(const IndexedEntry& entry) const;
  // What is to be seen under a path; kNoId: nothing.
  [[nodiscard]] uint32_t winner(uint32_t path) const;
  // The layer's entry of that kind of file, opened for reading without following anything.
  [[nodiscard]] Result<UniqueFd> open_file(uint32_t entry) const;
  // Whether a file holds what the file of its path in the next layer below holds, byte for byte. Reads both, if they are of one size.
  [[nodiscard]] Result<bool> is_copy_of_below(uint32_t entry) const;
  // Which entries of `path` are merged of those whose directory is in `parents` (all where that is empty and the path is the root), in layers from `first_layer` on.
  [[nodiscard]] std::vector<uint32_t> merged(uint32_t path, const std::vector<uint32_t>& parents, uint16_t first_layer) const;
  // Of the index itself.
  [[nodiscard]] size_t memory_bytes() const;

 private:
  friend class IndexBuilder;
  LayerIndex() = default;

  LayerPaths paths_;
  Chunked<IndexedEntry> entries_;
  Chunked<uint32_t> tops_;
  std::vector<LayerTotals> totals_;
  std::vector<UniqueFd> roots_;
};

}  // namespace strata
