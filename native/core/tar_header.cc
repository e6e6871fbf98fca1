#include "tar_header.h"

#include <cstring>
#include <string>

namespace strata {

namespace {

std::string field_text(const uint8_t* field, size_t width) {
  const char* text = reinterpret_cast<const char*>(field);
  return {text, ::strnlen(text, width)};
}

}  // namespace

std::optional<int64_t> parse_tar_number(const uint8_t* field, size_t width) {
  if ((field[0] & 0x80) != 0) {
    const bool negative = (field[0] & 0x40) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < width; ++i) {
      const uint8_t byte = i == 0 ? static_cast<uint8_t>(negative ? field[0] : field[0] & 0x7f) : field[i];
      const uint8_t lost = static_cast<uint8_t>(value >> 56);
      if (lost != (negative ? 0xff : 0)) {
        return std::nullopt;
      }
      value = value << 8 | byte;
    }
    const auto result = static_cast<int64_t>(value);
    return (result < 0) == negative ? std::optional(result) : std::nullopt;
  }
  size_t i = 0;
  while (i < width && (field[i] == ' ' || field[i] == 0)) {
    ++i;
  }
  int64_t value = 0;
  for (; i < width && field[i] != ' ' && field[i] != 0; ++i) {
    if (field[i] < '0' || field[i] > '7' || value > (INT64_MAX >> 3)) {
      return std::nullopt;
    }
    value = value << 3 | (field[i] - '0');
  }
  return value;
}

bool tar_checksum_matches(const uint8_t* header) {
  const auto stored = parse_tar_number(header + 148, 8);
  // Old archivers summed signed bytes.
  int64_t sum_unsigned = 0;
  int64_t sum_signed = 0;
  for (size_t i = 0; i < kTarBlock; ++i) {
    const uint8_t byte = i >= 148 && i < 156 ? ' ' : header[i];
    sum_unsigned += byte;
    sum_signed += static_cast<int8_t>(byte);
  }
  return stored && (*stored == sum_unsigned || *stored == sum_signed);
}

Result<TarEntry> read_tar_header(const uint8_t* header, const SaidElsewhere& said) {
  TarEntry entry;
  const bool ustar = std::memcmp(header + 257, "ustar\0" "00", 8) == 0;
  entry.name = field_text(header, 100);
  if (ustar && header[345] != 0) {
    entry.name = field_text(header + 345, 155) + "/" + entry.name;
  }
  entry.link_name = field_text(header + 157, 100);
  const auto mode = parse_tar_number(header + 100, 8);
  const auto uid = parse_tar_number(header + 108, 8);
  const auto gid = parse_tar_number(header + 116, 8);
  const auto mtime = parse_tar_number(header + 136, 12);
  if (!mode || !uid || !gid || !mtime) {
    return damaged_archive(entry.name, "a number in its header is not valid");
  }
  const auto is_id = [](int64_t id) { return id >= 0 && id < UINT32_MAX; };
  if ((!is_id(*uid) && !said.uid) || (!is_id(*gid) && !said.gid)) {
    return damaged_archive(entry.name, "its owner is not valid");
  }
  entry.mode = static_cast<uint32_t>(*mode) & 07777;
  entry.uid = static_cast<uint32_t>(*uid);
  entry.gid = static_cast<uint32_t>(*gid);
  entry.mtime_sec = *mtime;
  return entry;
}

Status read_tar_type(const uint8_t* header, TarEntry& entry) {
  const char kind = static_cast<char>(header[156]);
  switch (kind) {
    case '0':
    case '\0':
    case '7':
      entry.type = entry.name.ends_with('/') ? TarType::kDirectory : TarType::kFile;  // as before POSIX
      return {};
    case 'S':
      entry.type = TarType::kFile;
      return {};
    case '1':
      entry.type = TarType::kHardLink;
      return {};
    case '2':
      entry.type = TarType::kSymlink;
      return {};
    case '3':
    case '4': {
      entry.type = kind == '3' ? TarType::kCharDevice : TarType::kBlockDevice;
      const auto major = parse_tar_number(header + 329, 8);
      const auto minor = parse_tar_number(header + 337, 8);
      if (!major || !minor || *major < 0 || *major > 0xfff || *minor < 0 || *minor > 0xfffff) {
        return damaged_archive(entry.name, "its device number is not valid");
      }
      entry.device_major = static_cast<uint32_t>(*major);
      entry.device_minor = static_cast<uint32_t>(*minor);
      return {};
    }
    case '5':
      entry.type = TarType::kDirectory;
      return {};
    case '6':
      entry.type = TarType::kFifo;
      return {};
    default:
      return fail(EPROTONOSUPPORT, "read '" + entry.name + "'", std::string("a member of type '") + kind + "' is not supported");
  }
}

}  // namespace strata
