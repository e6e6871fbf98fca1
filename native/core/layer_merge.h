// Writes what several layers show together as the tar of one layer: whiteouts and opaque directories among them are resolved, as overlay would, without a mount.
#pragma once

#include <vector>

#include "layer_pack.h"

namespace strata {

// `layers`: directories, top first; borrowed. `over_base`: the layer will lie on others, so what hides something of those stays a whiteout or an opaque directory; else
// nothing is left to hide. The form and the errors are pack_tree's.
[[nodiscard]] Result<PackedTree> pack_merged(const std::vector<int>& layers, bool over_base, TarSink& output, const PackOptions& options = {});

}  // namespace strata
