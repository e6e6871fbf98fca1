// Writes a directory as a layer's tar, in one form: a layer that was made here has for its diffID the digest of what this writes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "inflate.h"
#include "tar_sink.h"

namespace strata {

// The bounds are apply_layer's: what is packed will be unpacked.
struct PackOptions {
  Compression compression = Compression::kNone;  // or kGzip
  // A container's upper: a socket, which no archive holds, hides what layers below have under its name. Else it is left out.
  bool sockets_hide = false;
  // Somebody may write to the tree meanwhile: what vanishes is left out, what a file loses while it is read is zeros.
  bool changes = false;
  std::vector<std::string> left_out = {};  // by their paths ("etc/hosts"), with what is below
  uint64_t max_entries = 4'000'000;
  uint64_t max_bytes = uint64_t{1} << 40;       // of the files, without their holes
  uint64_t max_size_bytes = uint64_t{1} << 44;  // with them
  const std::atomic<bool>* cancelled = nullptr;
};

struct PackedTree {
  uint64_t entries = 0;
  uint64_t bytes = 0;       // of the tar
  uint64_t size_bytes = 0;  // of the files, with their holes: what apply_layer will say
};

// `source` is borrowed. Sorted by the bytes of the names, numbers in ustar's fields where they fit, else in a pax header with its records in a fixed order, holes
// found by content (file_holes.h): the same tree gives the same bytes on every file system, and after it was packed and unpacked. The form must never change;
// a test pins a digest. Overlay's whiteouts and opaque directories become OCI's .wh. names; its other attributes, labels and what else is the host's are left out.
// Errors: EXDEV another file system is mounted below, EIO a file that shrinks meanwhile, E2BIG a limit, ECANCELED, EPROTONOSUPPORT what no layer can hold: a
// name that begins with .wh., a file or directory whose content is in a layer below.
[[nodiscard]] Result<PackedTree> pack_tree(int source, TarSink& output, const PackOptions& options = {});

struct PackedDirectory {
  uint64_t entries = 0;
  uint64_t bytes = 0;       // of the tar
  uint64_t size_bytes = 0;  // of the files
  std::string diff_id;      // of the tar
  std::string digest;       // of the bytes that were written
  uint64_t blob_bytes = 0;
};

// The same as a blob, written to `output`, which is borrowed. EAGAIN where no thread can be made.
[[nodiscard]] Result<PackedDirectory> pack_directory(int source, int output, const PackOptions& options = {});

}  // namespace strata
