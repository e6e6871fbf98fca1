// Writes a directory as a layer's tar.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "error.h"

namespace strata {

// The bounds are apply_layer's: what is packed will be unpacked.
struct PackOptions {
  uint64_t max_entries = 4'000'000;
  uint64_t max_bytes = uint64_t{1} << 40;  // of the files, without their holes
  const std::atomic<bool>* cancelled = nullptr;
};

struct PackedDirectory {
  uint64_t entries = 0;
  uint64_t bytes = 0;  // of the tar
};

// `source` and `output` are borrowed. Sorted by name, so that the same tree gives the same bytes. Overlay's whiteouts and opaque directories
// become OCI's .wh. names; large holes stay holes; its own attributes and sockets are left out. Errors: EXDEV another file system is mounted below,
// EIO a file that shrinks meanwhile, E2BIG a limit, ECANCELED.
[[nodiscard]] Result<PackedDirectory> pack_directory(int source, int output, const PackOptions& options = {});

}  // namespace strata
