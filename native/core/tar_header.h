// The header block of a tar member: ustar, GNU's base-256 numbers, and what came before POSIX.
#pragma once

#include <cstdint>
#include <optional>

#include "error.h"
#include "tar_entry.h"

namespace strata {

// Octal, or base-256 where the first bit is set; nullopt for anything else, and for what does not fit. Negative base-256 numbers are allowed.
[[nodiscard]] std::optional<int64_t> parse_tar_number(const uint8_t* field, size_t width);

[[nodiscard]] bool tar_checksum_matches(const uint8_t* header);

// Which owners a pax header gives, so that the block's own may be anything.
struct SaidElsewhere {
  bool uid = false;
  bool gid = false;
};

// Name, link, mode, owner and time of a block of kTarBlock bytes.
[[nodiscard]] Result<TarEntry> read_tar_header(const uint8_t* header, const SaidElsewhere& said);
// Type and device number; the name decides for what old archivers wrote. EPROTONOSUPPORT for types that Strata does not know.
[[nodiscard]] Status read_tar_type(const uint8_t* header, TarEntry& entry);

}  // namespace strata
