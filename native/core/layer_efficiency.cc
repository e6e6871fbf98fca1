#include "layer_efficiency.h"

#include <algorithm>
#include <string>
#include <utility>

namespace strata {

namespace {

using Merged = std::vector<uint32_t>;

// What the layers from `first` on are merged of at a path.
Merged merged_at(const LayerIndex& index, uint32_t path, uint16_t first) {
  std::vector<uint32_t> way;
  for (uint32_t at = path; at != 0; at = index.paths().parent(at)) {
    way.push_back(at);
  }
  Merged merged = index.merged(0, {}, first);
  for (; !way.empty() && !merged.empty(); way.pop_back()) {
    merged = index.merged(way.back(), merged, first);
  }
  return way.empty() ? merged : Merged{};
}

// Of the files that the layers from `first` on show below a directory.
Result<uint64_t> shown_below(const LayerIndex& index, uint32_t directory, uint16_t first, const std::atomic<bool>* cancelled) {
  uint64_t bytes = 0;
  std::vector<std::pair<uint32_t, Merged>> rest;
  rest.emplace_back(directory, merged_at(index, directory, first));
  while (!rest.empty()) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      return fail(ECANCELED, "weigh 'layers'");
    }
    const auto [path, merged] = std::move(rest.back());
    rest.pop_back();
    if (merged.empty()) {
      continue;
    }
    const IndexedEntry& winner = index.entry(merged.front());
    bytes += path == directory ? 0 : winner.stored();
    if (winner.kind != IndexedKind::kDirectory) {
      continue;
    }
    for (uint32_t child = index.paths().first_child(path); child != kNoId; child = index.paths().next_sibling(child)) {
      rest.emplace_back(child, index.merged(child, merged, first));
    }
  }
  return bytes;
}

}  // namespace

Result<DiveEfficiency> dive_efficiency(const LayerIndex& index, const std::atomic<bool>* cancelled) {
  uint64_t smallest = 0;
  uint64_t sum = 0;
  DiveEfficiency efficiency;
  for (uint32_t path = 1; path < index.paths().size(); ++path) {
    uint64_t path_smallest = UINT64_MAX;
    uint64_t path_sum = 0;
    size_t count = 0;
    for (uint32_t id = index.top_entry(path); id != kNoId; id = index.entry(id).below) {
      const IndexedEntry& entry = index.entry(id);
      if (entry.has(kHasChildren)) {
        continue;
      }
      const bool is_whiteout = entry.kind == IndexedKind::kWhiteout && entry.layer + 1U < index.totals().size();
      const uint64_t size = is_whiteout ? TRY(shown_below(index, path, static_cast<uint16_t>(entry.layer + 1), cancelled)) : entry.stored();
      path_smallest = std::min(path_smallest, size);
      path_sum += size;
      ++count;
    }
    smallest += count == 0 ? 0 : path_smallest;
    sum += path_sum;
    efficiency.wasted_bytes += count > 1 ? path_sum : 0;
  }
  efficiency.score = sum == 0 ? 1 : static_cast<double>(smallest) / static_cast<double>(sum);
  return efficiency;
}

WastedPaths wasted_paths(const LayerIndex& index, size_t most) {
  WastedPaths wasted;
  std::vector<WastedPath>& worst = wasted.worst;
  const auto is_worse = [&](const WastedPath& left, const WastedPath& right) {
    return left.bytes != right.bytes ? left.bytes > right.bytes : index.paths().text(left.path) < index.paths().text(right.path);
  };
  const auto keep = [&](size_t count) {
    if (worst.size() > count) {
      std::nth_element(worst.begin(), worst.begin() + static_cast<ptrdiff_t>(count), worst.end(), is_worse);
      worst.resize(count);
    }
  };
  for (uint32_t path = 1; path < index.paths().size(); ++path) {
    uint64_t bytes = 0;
    for (uint32_t id = index.top_entry(path); id != kNoId; id = index.entry(id).below) {
      bytes += index.entry(id).has(kBytesSeen) ? 0 : index.entry(id).stored();
    }
    if (bytes == 0) {
      continue;
    }
    ++wasted.count;
    worst.push_back({path, bytes, {}});
    if (worst.size() >= 2 * most + 1024) {
      keep(most);
    }
  }
  keep(most);
  std::sort(worst.begin(), worst.end(), is_worse);
  for (WastedPath& path : worst) {
    for (uint32_t id = index.top_entry(path.path); id != kNoId; id = index.entry(id).below) {
      path.layers.push_back(index.entry(id).layer);
    }
  }
  return wasted;
}

}  // namespace strata
