#include "layer_index.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "layer_index_builder.h"
#include "layer_scan.h"

namespace strata {

Result<LayerIndex> LayerIndex::build(const std::vector<std::string>& layers, const IndexOptions& options) {
  LayerIndex index;
  TRY(IndexBuilder(index, options).run(layers));
  return index;
}

std::string_view LayerIndex::link_target(const IndexedEntry& entry) const {
  return entry.kind == IndexedKind::kSymlink ? paths_.texts().at(static_cast<uint32_t>(entry.mtime_ns), entry.size) : std::string_view{};
}

uint32_t LayerIndex::winner(uint32_t path) const {
  for (uint32_t id = tops_[path]; id != kNoId; id = entries_[id].below) {
    if (entries_[id].has(kSeen)) {
      return id;
    }
  }
  return kNoId;
}

Result<UniqueFd> LayerIndex::open_file(uint32_t id) const {
  const IndexedEntry& wanted = entries_[id];
  return open_below(roots_[wanted.layer].get(), paths_.text(wanted.path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

Result<bool> LayerIndex::is_copy_of_below(uint32_t id) const {
  const IndexedEntry& above = entries_[id];
  if (above.kind != IndexedKind::kFile || above.below == kNoId || above.has(kMetacopy)) {
    return false;
  }
  const IndexedEntry& below = entries_[above.below];
  if (below.kind != IndexedKind::kFile || below.has(kMetacopy) || below.size != above.size) {
    return false;
  }
  const UniqueFd files[2] = {TRY(open_file(id)), TRY(open_file(above.below))};
  std::vector<char> pieces[2] = {std::vector<char>(size_t{128} << 10), std::vector<char>(size_t{128} << 10)};
  for (uint64_t at = 0; at < above.size;) {
    ssize_t got[2];
    for (int side = 0; side < 2; ++side) {
      got[side] = ::pread(files[side].get(), pieces[side].data(), pieces[side].size(), static_cast<off_t>(at));
      if (got[side] < 0) {
        return fail_errno("read '/" + paths_.text(above.path) + "'");
      }
    }
    const auto both = static_cast<size_t>(std::min(got[0], got[1]));
    // Shorter than it was: somebody writes to it.
    if (both == 0 || std::memcmp(pieces[0].data(), pieces[1].data(), both) != 0) {
      return false;
    }
    at += both;
  }
  return true;
}

std::vector<uint32_t> LayerIndex::merged(uint32_t path, const std::vector<uint32_t>& parents, uint16_t first_layer) const {
  std::vector<uint32_t> found;
  for (uint32_t id = tops_[path]; id != kNoId; id = entries_[id].below) {
    const IndexedEntry& entry = entries_[id];
    if (entry.layer < first_layer || (path != 0 && std::find(parents.begin(), parents.end(), entry.parent) == parents.end())) {
      continue;
    }
    if (entry.kind != IndexedKind::kDirectory) {
      if (found.empty() && entry.kind != IndexedKind::kWhiteout) {
        found.push_back(id);
      }
      break;
    }
    found.push_back(id);
    if (entry.has(kOpaque) || entry.has(kRedirected)) {
      break;
    }
  }
  return found;
}

size_t LayerIndex::memory_bytes() const { return paths_.bytes() + entries_.bytes() + tops_.bytes(); }

}  // namespace strata
