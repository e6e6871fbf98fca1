// How much of what a stack of layers stores is of use.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "layer_index.h"

namespace strata {

// After the definitions of dive: of each path that is a leaf in some layer, the sum of its sizes in all layers, where a whiteout of a directory weighs what the layers
// below showed in it; the score is the smallest sizes over the sums, wasted is the sum of the paths that more than one layer has.
struct DiveEfficiency {
  double score = 1;
  uint64_t wasted_bytes = 0;
};
// ECANCELED: many layers that delete one large directory again and again take as long as there are layers.
[[nodiscard]] Result<DiveEfficiency> dive_efficiency(const LayerIndex& index, const std::atomic<bool>* cancelled = nullptr);

struct WastedPath {
  uint32_t path = 0;
  uint64_t bytes = 0;  // that layers store and the stack does not show
  std::vector<uint16_t> layers;  // that have the path, top first, whiteouts as well
};
struct WastedPaths {
  std::vector<WastedPath> worst;  // largest first, then by path
  uint64_t count = 0;
};
[[nodiscard]] WastedPaths wasted_paths(const LayerIndex& index, size_t most);

}  // namespace strata
