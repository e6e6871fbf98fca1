// Entries of a layer index that have something in common, found for many questions in one pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "layer_index.h"

namespace strata {

enum class EntryState { kAny, kSeen, kHidden };
enum class EntryRelation {
  kUnrelated,
  kMetadataCopy,  // the file of this path in the next layer below has the same size and time, and another mode or owner
  kIdenticalCopy, // and the same mode and owner, too
  kBrokenLink,    // a symbolic link that leads to nothing in the stack, and not to where a container has mounts of its own
};

// All that is said must be so; of `paths` and `suffixes` one.
struct EntryQuery {
  EntryState state = EntryState::kAny;
  EntryRelation relation = EntryRelation::kUnrelated;
  unsigned kinds = 0;               // 1 << IndexedKind; 0: every kind
  std::vector<std::string> paths = {};   // "/var/lib/x": that one; ".aws/credentials": whatever ends in these names
  std::vector<std::string> suffixes = {};  // of the name
  uint16_t mode_any = 0;            // one of these bits at least
  uint16_t mode_none = 0;           // none of these
  bool is_below = false;            // directories, for the files below them: bytes and count are of those, whatever their kind and mode
  uint64_t least_bytes = 0;
};

struct EntryMatch {
  uint32_t entry = 0;
  uint64_t bytes = 0;
  uint64_t files = 0;
};

struct QueryResult {
  uint64_t count = 0;
  uint64_t bytes = 0;
  std::vector<EntryMatch> matches;  // those with most bytes first, then by path and layer
};

[[nodiscard]] std::vector<QueryResult> select_entries(const LayerIndex& index, const std::vector<EntryQuery>& queries, size_t most_matches);

// Who hides an entry that is not seen: the nearest layer above that deleted, replaced or made anew it or a directory that it is in.
struct Hiding {
  uint16_t layer = 0;
  bool is_deleted = false;
};
[[nodiscard]] std::optional<Hiding> hidden_by(const LayerIndex& index, uint32_t entry);

}  // namespace strata
