// Unpacks a layer's tar into an empty directory; nothing lands outside it, whatever the archive says.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "error.h"
#include "inflate.h"
#include "unique_fd.h"

namespace strata {

struct ApplyOptions {
  Compression compression = Compression::kAuto;
  uint64_t least_source_bytes = 0;            // a source that has less yet is still written: it is waited for
  bool whiteouts = true;                      // OCI's .wh. names become overlay's own form
  uint64_t max_entries = 4'000'000;
  uint64_t max_bytes = uint64_t{1} << 40;     // stored file bytes
  // Of the files as they will be, holes too. A sum over all layers of an image must stay exact as a JavaScript number (2^53).
  uint64_t max_size_bytes = uint64_t{1} << 44;
  // What is larger than `free_expansion_bytes` may be so many times as large as it came: a little more than gzip can do. zstd can do thousands of times that.
  uint64_t max_expansion = 1100;
  uint64_t free_expansion_bytes = uint64_t{4} << 30;
  uint64_t max_directory_bytes = uint64_t{256} << 20;  // of memory, for the times of directories until the end
  const std::atomic<bool>* cancelled = nullptr;
};

struct AppliedLayer {
  std::string diff_id;  // of the uncompressed tar
  std::string digest;   // of the bytes as read
  uint64_t compressed_bytes = 0;
  uint64_t size_bytes = 0;
  uint64_t entries = 0;
};

// A file to unpack, by the name of a person or an image: never waits for a writer. EINVAL for all but regular files.
[[nodiscard]] Result<UniqueFd> open_archive(const std::string& path);

// Both descriptors are borrowed. What was unpacked before an error stays: the caller removes the directory. Errors: EBADMSG damaged archive,
// EXDEV a path that leaves the destination, E2BIG a limit, ECANCELED, EPROTONOSUPPORT a kind of member or compression that
// is not known, ENOTSUP a file system without the attributes that a layer needs.
// The rules: an absolute name is taken relative to the destination; ".." is refused; a parent that is a symbolic link is followed inside
// the destination as if it were the root; a hard link's target is looked up the same way; the last member of a name wins.
[[nodiscard]] Result<AppliedLayer> apply_layer(int source, int destination, const ApplyOptions& options);

}  // namespace strata
