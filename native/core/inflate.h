// Streaming decompression behind one interface: gzip (any number of members), zstd (any number of frames), xz (any number of streams), none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "error.h"

namespace strata {

enum class Compression { kAuto, kNone, kGzip, kZstd, kXz };

// By magic number; kNone for anything unknown. Needs 6 bytes at best.
[[nodiscard]] Compression detect_compression(std::span<const uint8_t> head);

class Inflater {
 public:
  struct Progress {
    size_t consumed = 0;
    size_t produced = 0;
  };
  virtual ~Inflater() = default;
  // Takes from `input`, writes to `output`, as much as fits. EBADMSG where the data is not valid, EPROTONOSUPPORT where it needs too much memory.
  [[nodiscard]] virtual Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) = 0;
  // Whether the input may end here (between members or frames).
  [[nodiscard]] virtual bool at_end() const = 0;
};

// Name of a format that people use for archives and that is not unpacked here (bzip2); nullptr for any other beginning.
[[nodiscard]] const char* unsupported_compression(std::span<const uint8_t> head);
// kAuto is not accepted here.
[[nodiscard]] std::unique_ptr<Inflater> make_inflater(Compression compression);

}  // namespace strata
