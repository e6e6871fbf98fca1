// Reads tar: ustar, pax (extended and global headers, xattrs, sparse 0.0, 0.1 and 1.0), GNU (long names, base-256 numbers, old sparse).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "error.h"
#include "layer_stream.h"
#include "pax_records.h"
#include "tar_entry.h"

namespace strata {

class TarReader {
 public:
  explicit TarReader(LayerStream& stream) : stream_(stream) {}

  // The next member; nullopt behind the end-of-archive block. What was left of the last member's data is skipped. EBADMSG for a damaged archive
  // (checksum, numbers, cut off, no end-of-archive block), EPROTONOSUPPORT for member types that Strata does not know.
  [[nodiscard]] Result<std::optional<TarEntry>> next();
  // The next bytes of the member's data; empty at its end.
  [[nodiscard]] Result<std::span<const uint8_t>> data(size_t most = 256 * 1024);

 private:
  // What the blocks before a member say about it.
  struct Extensions {
    PaxHeader pax;
    std::string long_name, long_link;
    uint64_t bytes = 0;
  };

  [[nodiscard]] Status finish_member();
  [[nodiscard]] Result<std::string> read_text(uint64_t bytes);
  [[nodiscard]] Result<bool> read_extension(char kind, uint64_t bytes, Extensions& extensions);
  [[nodiscard]] Status read_gnu_sparse(const uint8_t* header, TarEntry& entry);
  [[nodiscard]] Status read_pax_sparse_map(TarEntry& entry);

  LayerStream& stream_;
  GlobalPax global_;
  uint64_t data_left_ = 0;
  uint64_t padding_ = 0;
};

}  // namespace strata
