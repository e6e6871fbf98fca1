// DEFLATE (RFC 1951) and the checksum of gzip, from a library. Who links core says from which: ISA-L, twice as fast and in Debian a shared library alone, is
// the addon's; zlib is that of the static runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "error.h"

namespace strata {

class DeflateStream {
 public:
  struct Progress {
    size_t consumed = 0;
    size_t produced = 0;
    bool done = false;  // the last block has ended
  };
  virtual ~DeflateStream() = default;
  // Begins another stream.
  virtual void reset() = 0;
  // Takes from `input`, writes to `output`, as much as fits. EBADMSG where the data is not valid, ENOMEM.
  [[nodiscard]] virtual Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) = 0;
  // Behind the end: the next byte that was taken from the input and is not of the stream.
  [[nodiscard]] virtual bool take_byte(uint8_t& byte) = 0;
  // crc32 of gzip, 0 at the beginning.
  [[nodiscard]] virtual uint32_t checksum(uint32_t before, std::span<const uint8_t> bytes) const = 0;
};

[[nodiscard]] std::unique_ptr<DeflateStream> make_deflate_stream();

}  // namespace strata
