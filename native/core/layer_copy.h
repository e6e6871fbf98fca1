// Makes a layer of a directory that overlay uses as such: a container's upper, or what several layers show together.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "error.h"
#include "layer_apply.h"

namespace strata {

struct LayerCopyOptions {
  // As PackOptions has them.
  bool sockets_hide = false, changes = false;
  std::vector<std::string> left_out = {};
  const std::atomic<bool>* cancelled = nullptr;
};

// Packs `source` and unpacks what comes into the empty directory `destination`, in one pass: each file is read once, and the digest is computed on the way. What lies in
// `destination` then has nothing that steers overlay but whiteouts and opaque directories, and its digest is the one of pack_directory of it. Both descriptors are
// borrowed. Errors: pack_tree's and apply_layer's.
[[nodiscard]] Result<AppliedLayer> copy_layer(int source, int destination, const LayerCopyOptions& options);

// The same of what several layers show together (layer_merge.h).
[[nodiscard]] Result<AppliedLayer> merge_layers(const std::vector<int>& layers, bool over_base, int destination, const std::atomic<bool>* cancelled);

}  // namespace strata
