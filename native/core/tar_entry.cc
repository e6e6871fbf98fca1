#include "tar_entry.h"

namespace strata {

std::unexpected<Error> damaged_archive(const std::string& what, const std::string& why) { return fail(EBADMSG, "read '" + what + "'", why); }

Status check_pieces(const TarEntry& entry) {
  uint64_t end = 0;
  uint64_t stored = 0;
  for (const TarSparsePiece& piece : entry.pieces) {
    if (piece.offset < end || piece.length > entry.size_bytes || piece.offset > entry.size_bytes - piece.length) {
      return damaged_archive(entry.name, "the map of its sparse file is not valid");
    }
    end = piece.offset + piece.length;
    stored += piece.length;
  }
  if (stored != entry.stored_bytes) {
    return damaged_archive(entry.name, "the map of its sparse file does not fit its size");
  }
  return {};
}

}  // namespace strata
