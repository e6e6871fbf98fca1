#include "pax_records.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "pseudo_file.h"

namespace strata {

namespace {

// What global headers say is kept to the end and read again for every member.
constexpr uint64_t kMostGlobalBytes = 64 << 10;
constexpr std::string_view kXattr = "SCHILY.xattr.";

// The records that apply_record() reads.
bool is_of_member(const std::string& key) {
  static constexpr std::array<std::string_view, 6> kKeys{"path", "linkpath", "size", "uid", "gid", "mtime"};
  return key.starts_with(kXattr) || std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

Status apply_record(const std::string& key, const std::string& value, TarEntry& entry) {
  const auto number = [&](uint64_t most) -> Result<uint64_t> {
    const auto parsed = parse_u64(value);
    if (!parsed || *parsed > most) {
      return damaged_archive(entry.name, "a number in its pax header is not valid");
    }
    return *parsed;
  };
  if (key == "path") {
    entry.name = value;
  } else if (key == "linkpath") {
    entry.link_name = value;
  } else if (key == "size") {
    entry.stored_bytes = TRY(number(INT64_MAX));
  } else if (key == "uid") {
    entry.uid = static_cast<uint32_t>(TRY(number(UINT32_MAX - 1)));
  } else if (key == "gid") {
    entry.gid = static_cast<uint32_t>(TRY(number(UINT32_MAX - 1)));
  } else if (key == "mtime") {
    const auto time = parse_pax_time(value);
    if (!time) {
      return damaged_archive(entry.name, "a time in its pax header is not valid");
    }
    std::tie(entry.mtime_sec, entry.mtime_nsec) = *time;
  } else if (key.starts_with(kXattr)) {
    entry.xattrs.emplace_back(key.substr(kXattr.size()), value);
  }
  return {};
}

}  // namespace

std::optional<std::pair<int64_t, uint32_t>> parse_pax_time(const std::string& text) {
  const size_t dot = text.find('.');
  const auto seconds = parse_i64(std::string_view(text).substr(0, dot));
  if (!seconds || *seconds < -(int64_t{1} << 40) || *seconds > int64_t{1} << 40) {
    return std::nullopt;
  }
  uint32_t nanoseconds = 0;
  if (dot != std::string::npos) {
    uint32_t unit = 100000000;
    for (const char digit : text.substr(dot + 1)) {
      if (digit < '0' || digit > '9') {
        return std::nullopt;
      }
      nanoseconds += static_cast<uint32_t>(digit - '0') * unit;
      unit /= 10;
    }
  }
  // "-1.25" is 1.25 seconds before the epoch.
  if (text.starts_with('-') && nanoseconds != 0) {
    return std::pair{*seconds - 1, 1000000000 - nanoseconds};
  }
  return std::pair{*seconds, nanoseconds};
}

Status parse_pax(std::string_view text, PaxHeader& header) {
  std::string_view rest = text;
  auto& [records, pieces] = header;
  while (!rest.empty()) {
    // "<length> <key>=<value>\n", the length counting itself.
    const size_t space = rest.find(' ');
    const auto length = space < 12 ? parse_u64(rest.substr(0, space)) : std::nullopt;
    if (!length || *length <= space + 1 || *length > rest.size() || rest[*length - 1] != '\n') {
      return damaged_archive("archive", "a pax header is not valid");
    }
    const std::string_view record = rest.substr(space + 1, *length - space - 2);
    rest.remove_prefix(*length);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return damaged_archive("archive", "a pax record has no key");
    }
    const std::string key(record.substr(0, equals));
    const std::string value(record.substr(equals + 1));
    // Sparse format 0.0 repeats these two; order matters.
    if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      const auto number = parse_u64(value);
      if (!number || pieces.size() >= kMostSparsePieces || (key == "GNU.sparse.numbytes" && pieces.empty())) {
        return damaged_archive("archive", "the map of a sparse file is not valid");
      }
      if (key == "GNU.sparse.offset") {
        pieces.push_back({*number, 0});
      } else {
        pieces.back().length = *number;
      }
      continue;
    }
    // pax(1): an empty value takes an earlier one back, a global one too, which has to be remembered. Attributes may be empty.
    if (value.empty() && !is_of_member(key)) {
      records.erase(key);
    } else {
      records[key] = value;
    }
  }
  return {};
}

Result<bool> apply_pax_sparse(const PaxHeader& header, TarEntry& entry) {
  const PaxRecords& records = header.records;
  const auto find = [&](const char* key) { return records.contains(key) ? parse_u64(records.at(key)) : std::nullopt; };
  const auto real_size = records.contains("GNU.sparse.realsize") ? find("GNU.sparse.realsize") : find("GNU.sparse.size");
  if (!real_size || *real_size > INT64_MAX) {
    return damaged_archive(entry.name, "the size of its sparse file is not valid");
  }
  entry.size_bytes = *real_size;
  if (records.contains("GNU.sparse.name")) {
    entry.name = records.at("GNU.sparse.name");
  }
  if (find("GNU.sparse.major").value_or(0) == 1) {
    return false;
  }
  entry.pieces = header.pieces;
  std::string_view map = records.contains("GNU.sparse.map") ? std::string_view(records.at("GNU.sparse.map")) : std::string_view();
  while (!map.empty()) {
    const auto take = [&] {
      const size_t comma = map.find(',');
      const auto value = parse_u64(map.substr(0, comma));
      map.remove_prefix(comma == std::string_view::npos ? map.size() : comma + 1);
      return value;
    };
    const auto offset = take();
    const auto length = take();
    if (!offset || !length) {
      return damaged_archive(entry.name, "the map of its sparse file is not valid");
    }
    entry.pieces.push_back({*offset, *length});
  }
  TRY(check_pieces(entry));
  return true;
}

Status GlobalPax::take(PaxRecords records) {
  for (auto& [key, value] : records) {
    if (!is_of_member(key)) {
      continue;
    }
    if (const auto before = records_.find(key); before != records_.end()) {
      bytes_ -= key.size() + before->second.size();
      records_.erase(before);
    }
    if (value.empty() && !key.starts_with(kXattr)) {
      continue;
    }
    bytes_ += key.size() + value.size();
    if (bytes_ > kMostGlobalBytes) {
      return damaged_archive("archive", "its global headers say more than " + std::to_string(kMostGlobalBytes) + " bytes");
    }
    records_.emplace(key, std::move(value));
  }
  return {};
}

bool GlobalPax::is_said(const PaxRecords& own, const std::string& key) const {
  const auto record = own.find(key);
  return record != own.end() ? !record->second.empty() : records_.contains(key);
}

Status GlobalPax::apply(const PaxRecords& own, TarEntry& entry) const {
  for (const auto& [key, value] : records_) {
    if (!own.contains(key)) {
      TRY(apply_record(key, value, entry));
    }
  }
  for (const auto& [key, value] : own) {
    if (!value.empty() || key.starts_with(kXattr)) {
      TRY(apply_record(key, value, entry));
    }
  }
  return {};
}

}  // namespace strata
