// Looks into a layer's directory on behalf of a person: paths are those inside the layer and never lead out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "unique_fd.h"

namespace strata {

enum class LayerEntryKind { kFile, kDirectory, kSymlink, kDevice, kFifo, kSocket, kWhiteout };
[[nodiscard]] const char* layer_entry_kind_name(LayerEntryKind kind);

struct LayerEntry {
  std::string name;
  LayerEntryKind kind = LayerEntryKind::kFile;
  uint64_t size_bytes = 0;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;
  double mtime_ms = 0;
  std::optional<std::string> link_target;
  bool opaque = false;
};

struct LayerListing {
  std::vector<LayerEntry> entries;
  bool truncated = false;
};

// What a listing may take as JSON: together with its envelope it fits a message of the protocol (4 MiB).
inline constexpr size_t kMostListingBytes = size_t{3} << 20;

// The first `limit` by name, fewer where they would not fit `most_bytes` as JSON.
[[nodiscard]] Result<LayerListing> list_layer(const std::string& root, const std::string& path, size_t limit, size_t most_bytes = kMostListingBytes);
// The entry itself: a symbolic link at the end is not followed.
[[nodiscard]] Result<LayerEntry> stat_layer(const std::string& root, const std::string& path);
// Read-only, regular files alone (EISDIR, ELOOP for a link out of or nowhere, EINVAL for other kinds), never blocking. Links are followed inside `root`.
[[nodiscard]] Result<UniqueFd> open_layer_file(const std::string& root, const std::string& path);

}  // namespace strata
