// Walks the layers of a stack into an index, and settles who wins.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "layer_index.h"
#include "layer_scan.h"
#include "unique_fd.h"

namespace strata {

// Invariants: the index and all below the mutex are touched under it alone, once for each batch of a directory; what takes time, the system calls, is done
// outside. The first error, or a cancellation, ends every thread at its next batch.
class IndexBuilder {
 public:
  IndexBuilder(LayerIndex& index, const IndexOptions& options) : index_(index), options_(options) {}

  Status run(const std::vector<std::string>& layers);

 private:
  // A name of a file that has several.
  struct Link {
    uint16_t layer;
    uint64_t inode;
    uint32_t entry;
  };
  // A directory that is held open, for those in it are likely to be next.
  struct Held {
    uint32_t entry;
    UniqueFd directory;
  };
  struct Scratch {
    std::vector<char> buffer;
    ScannedNames names;
    std::vector<Held> way;  // each in the one before
  };

  Status open(const std::vector<std::string>& layers);
  void work();
  Result<UniqueFd> open_directory(uint32_t entry, std::vector<Held>& way);
  Result<UniqueFd> open_by_path(uint32_t entry);
  Status scan(uint32_t entry, Scratch& scratch);
  Status take(uint32_t directory, const ScannedNames& names);
  uint32_t insert(uint32_t path, IndexedEntry entry);
  void settle_links();
  void settle_winners();
  void sum_up();

  LayerIndex& index_;
  const IndexOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> waiting_;  // entries of directories that nobody has read yet
  size_t busy_ = 0;                // threads that read one
  std::optional<Error> failed_;
  std::vector<Link> links_;
};

}  // namespace strata
