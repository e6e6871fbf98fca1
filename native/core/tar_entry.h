// One member of a tar archive.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "error.h"

namespace strata {

constexpr size_t kTarBlock = 512;
constexpr size_t kMostSparsePieces = 1 << 20;

enum class TarType { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

struct TarSparsePiece {
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct TarEntry {
  TarType type = TarType::kFile;
  std::string name;
  std::string link_name;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;
  int64_t mtime_sec = 0;
  uint32_t mtime_nsec = 0;
  uint32_t device_major = 0, device_minor = 0;
  uint64_t size_bytes = 0;    // of the file as it will be
  uint64_t stored_bytes = 0;  // in the archive
  bool sparse = false;
  std::vector<TarSparsePiece> pieces;                        // of a sparse file; together stored_bytes
  std::vector<std::pair<std::string, std::string>> xattrs;   // binary values
};

// EBADMSG. `what`: the member, or "archive".
[[nodiscard]] std::unexpected<Error> damaged_archive(const std::string& what, const std::string& why);

// Whether the pieces of a sparse file are in order, inside it, and together what is stored.
[[nodiscard]] Status check_pieces(const TarEntry& entry);

}  // namespace strata
