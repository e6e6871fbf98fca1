// Looks into a layer's directory on behalf of a person: paths are those inside the layer and never lead out of it.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
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
  std::optional<LayerEntryKind> link_kind;  // of what a link leads to, where that is known
  bool opaque = false;
};

// A node as it is, whatever it means to overlay. `node`: an O_PATH descriptor.
[[nodiscard]] LayerEntryKind node_kind(const struct stat& status);
[[nodiscard]] LayerEntry describe_node(int node, const struct stat& status, std::string name);
[[nodiscard]] std::string read_link(int node);
// Opens what an O_PATH descriptor holds for reading, never blocking: EISDIR, EINVAL for anything but regular files, whose devices would act when they are opened.
[[nodiscard]] Result<UniqueFd> open_regular_file(int node, const std::string& path);

struct LayerListing {
  std::vector<LayerEntry> entries;
  bool truncated = false;
};

// What a listing may take as JSON: together with its envelope it fits a message of the protocol (4 MiB).
inline constexpr size_t kMostListingBytes = size_t{3} << 20;
inline constexpr size_t kMostListed = 10'000;
// At most, as JSON.
[[nodiscard]] size_t json_bytes(const LayerEntry& entry);

using Describe = std::function<LayerEntry(int node, const struct stat& status, std::string name)>;
// A directory that is open for reading, sorted by name: the first `limit`, fewer where they would not fit `most_bytes` as JSON.
[[nodiscard]] Result<LayerListing> list_directory(UniqueFd directory, const std::string& path, const Describe& describe, size_t limit = kMostListed,
                                                  size_t most_bytes = kMostListingBytes);

[[nodiscard]] Result<LayerListing> list_layer(const std::string& root, const std::string& path, size_t limit, size_t most_bytes = kMostListingBytes);
// The entry itself: a symbolic link at the end is not followed.
[[nodiscard]] Result<LayerEntry> stat_layer(const std::string& root, const std::string& path);
// Read-only, regular files alone (EISDIR, ELOOP for a link out of or nowhere, EINVAL for other kinds), never blocking. Links are followed inside `root`.
[[nodiscard]] Result<UniqueFd> open_layer_file(const std::string& root, const std::string& path);

}  // namespace strata
