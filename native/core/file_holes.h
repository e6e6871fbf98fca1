// Where a file has nothing but zeros.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "error.h"
#include "tar_entry.h"

namespace strata {

// The pieces of a sparse member; none where the file is to be written whole. `size`: as the file system said before. `cancelled` may be null.

// By what the file system tells: quick, and as the file was made. A hole is one of 64 KiB and more.
[[nodiscard]] Result<std::vector<TarSparsePiece>> pieces_as_stored(int file, uint64_t size, const std::atomic<bool>* cancelled);

// By the bytes: the same content gives the same pieces, whatever a file system makes of it, today or after a copy. Holes are aligned pieces of 64 KiB that
// are all zeros; a file has them where they are 1 MiB together. Reads what is not known to be a hole, into `memory` (a multiple of 64 KiB).
[[nodiscard]] Result<std::vector<TarSparsePiece>> pieces_by_content(int file, uint64_t size, std::span<uint8_t> memory, const std::atomic<bool>* cancelled);

}  // namespace strata
