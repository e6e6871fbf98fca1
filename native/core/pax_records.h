// pax(1) extended headers: records about the next member (x) or about all that follow (g).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"
#include "tar_entry.h"

namespace strata {

using PaxRecords = std::map<std::string, std::string>;

struct PaxHeader {
  PaxRecords records;
  std::vector<TarSparsePiece> pieces;  // sparse format 0.0, whose keys repeat
};

// Adds to what earlier headers of the same member said.
[[nodiscard]] Status parse_pax(std::string_view text, PaxHeader& header);

// "1700000000.25" as seconds and nanoseconds; negative ones too.
[[nodiscard]] std::optional<std::pair<int64_t, uint32_t>> parse_pax_time(const std::string& text);

// Whether a header describes a sparse file.
[[nodiscard]] inline bool is_pax_sparse(const PaxRecords& records) { return records.contains("GNU.sparse.major") || records.contains("GNU.sparse.size"); }
// Size, name and map of a sparse file, formats 0.0 (records repeated) and 0.1 (one record); false: format 1.0, whose map stands before the data.
[[nodiscard]] Result<bool> apply_pax_sparse(const PaxHeader& header, TarEntry& entry);

// What the global headers so far say.
class GlobalPax {
 public:
  [[nodiscard]] Status take(PaxRecords records);
  // Whether a member's own records or the global ones give this key a value.
  [[nodiscard]] bool is_said(const PaxRecords& own, const std::string& key) const;
  [[nodiscard]] Status apply(const PaxRecords& own, TarEntry& entry) const;

 private:
  PaxRecords records_;  // only those that a member can have
  uint64_t bytes_ = 0;
};

}  // namespace strata
