#include "tar_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

namespace strata {

namespace {

constexpr size_t kBlock = 512;

// "<length> <key>=<value>\n": the length counts its own digits.
void add_record(std::string& records, const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) {
    length = std::to_string(length).size() + rest;
  }
  records += std::to_string(length) + " " + key + "=" + value + "\n";
}

// False where the value does not fit; the field then is 0 and the value goes into the pax header.
bool put_octal(uint8_t* field, size_t width, uint64_t value) {
  const bool fits = width * 3 - 3 >= 64 || value >> (width * 3 - 3) == 0;
  if (!fits) {
    value = 0;
  }
  for (size_t i = width - 1; i-- > 0;) {
    field[i] = static_cast<uint8_t>('0' + (value & 7));
    value >>= 3;
  }
  field[width - 1] = 0;
  return fits;
}

bool put_text(uint8_t* field, size_t width, const std::string& text) {
  std::memcpy(field, text.data(), std::min(width, text.size()));
  return text.size() <= width;
}

void put_checksum(uint8_t* header) {
  std::memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    sum += header[i];
  }
  std::snprintf(reinterpret_cast<char*>(header) + 148, 8, "%06o", sum);
  header[155] = ' ';
}

// Format 1.0's map, which stands before the data.
std::string sparse_map(const TarEntry& entry, std::string& records) {
  add_record(records, "GNU.sparse.major", "1");
  add_record(records, "GNU.sparse.minor", "0");
  add_record(records, "GNU.sparse.name", entry.name);
  add_record(records, "GNU.sparse.realsize", std::to_string(entry.size_bytes));
  std::string map = std::to_string(entry.pieces.size()) + "\n";
  for (const TarSparsePiece& piece : entry.pieces) {
    map += std::to_string(piece.offset) + "\n" + std::to_string(piece.length) + "\n";
  }
  map.resize((map.size() + kBlock - 1) / kBlock * kBlock);
  return map;
}

// What who does not know the format unpacks it as.
std::string sparse_name(const std::string& name) {
  const size_t base = name.rfind('/') + 1;
  return name.substr(0, base) + "GNUSparseFile.0/" + name.substr(base);
}

char type_flag(TarType type) {
  switch (type) {
    case TarType::kFile:
      return '0';
    case TarType::kHardLink:
      return '1';
    case TarType::kSymlink:
      return '2';
    case TarType::kCharDevice:
      return '3';
    case TarType::kBlockDevice:
      return '4';
    case TarType::kDirectory:
      return '5';
    case TarType::kFifo:
      return '6';
  }
  return '0';
}

std::string pax_time(int64_t seconds, uint32_t nanoseconds) {
  const bool negative = seconds < 0;
  if (negative && nanoseconds > 0) {  // -1.75 is kept as -2 s + 0.25 s
    seconds += 1;
    nanoseconds = 1000000000 - nanoseconds;
  }
  std::string text = (negative && seconds == 0 ? "-" : "") + std::to_string(seconds);
  if (nanoseconds > 0) {
    std::array<char, 16> fraction;
    std::snprintf(fraction.data(), fraction.size(), ".%09u", nanoseconds);
    text += fraction.data();
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

}  // namespace

Status TarWriter::flush() {
  if (used_ > 0) {
    TRY(sink_.put(std::exchange(used_, 0)));
    block_ = {};
  }
  return {};
}

Result<std::span<uint8_t>> TarWriter::room() {
  if (block_.empty()) {
    block_ = TRY(sink_.room());
  }
  return block_.subspan(used_);
}

Status TarWriter::added(size_t count) {
  bytes_ += count;
  used_ += count;
  return used_ == block_.size() ? flush() : Status{};
}

Status TarWriter::append(const void* bytes, size_t count) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  while (count > 0) {
    const std::span<uint8_t> to = TRY(room());
    const size_t part = std::min(count, to.size());
    std::memcpy(to.data(), from, part);
    TRY(added(part));
    from += part;
    count -= part;
  }
  return {};
}

Status TarWriter::begin(const TarEntry& entry) {
  std::array<uint8_t, kBlock> header{};
  std::string records;
  const std::string map = entry.sparse ? sparse_map(entry, records) : std::string();
  uint64_t stored_bytes = entry.type != TarType::kFile ? 0 : entry.sparse ? map.size() : entry.size_bytes;
  for (const TarSparsePiece& piece : entry.pieces) {
    stored_bytes += piece.length;
  }
  const std::string name = entry.sparse ? sparse_name(entry.name) : entry.name;
  if (!put_text(header.data(), 100, name)) {
    add_record(records, "path", name);
  }
  put_octal(header.data() + 100, 8, entry.mode);
  if (!put_octal(header.data() + 108, 8, entry.uid)) {
    add_record(records, "uid", std::to_string(entry.uid));
  }
  if (!put_octal(header.data() + 116, 8, entry.gid)) {
    add_record(records, "gid", std::to_string(entry.gid));
  }
  if (!put_octal(header.data() + 124, 12, stored_bytes)) {
    add_record(records, "size", std::to_string(stored_bytes));
  }
  const bool plain_time = entry.mtime_sec >= 0 && entry.mtime_nsec == 0;
  if (!put_octal(header.data() + 136, 12, entry.mtime_sec < 0 ? 0 : static_cast<uint64_t>(entry.mtime_sec)) || !plain_time) {
    add_record(records, "mtime", pax_time(entry.mtime_sec, entry.mtime_nsec));
  }
  header[156] = static_cast<uint8_t>(type_flag(entry.type));
  if (!put_text(header.data() + 157, 100, entry.link_name)) {
    add_record(records, "linkpath", entry.link_name);
  }
  std::memcpy(header.data() + 257, "ustar\0" "00", 8);
  put_octal(header.data() + 329, 8, entry.device_major);
  put_octal(header.data() + 337, 8, entry.device_minor);
  put_checksum(header.data());
  for (const auto& [key, value] : entry.xattrs) {
    add_record(records, "SCHILY.xattr." + key, value);
  }
  if (!records.empty()) {
    std::array<uint8_t, kBlock> extension{};
    put_text(extension.data(), 100, "PaxHeaders/" + entry.name.substr(0, 80));
    put_octal(extension.data() + 100, 8, 0644);
    put_octal(extension.data() + 108, 8, 0);
    put_octal(extension.data() + 116, 8, 0);
    put_octal(extension.data() + 124, 12, records.size());
    put_octal(extension.data() + 136, 12, 0);
    extension[156] = 'x';
    std::memcpy(extension.data() + 257, "ustar\0" "00", 8);
    put_checksum(extension.data());
    TRY(append(extension.data(), kBlock));
    TRY(append(records.data(), records.size()));
    TRY(end());
  }
  TRY(append(header.data(), kBlock));
  return append(map.data(), map.size());
}

Status TarWriter::data(std::span<const uint8_t> bytes) { return append(bytes.data(), bytes.size()); }

Status TarWriter::end() {
  static constexpr std::array<uint8_t, kBlock> kZeros{};
  return append(kZeros.data(), static_cast<size_t>((kBlock - bytes_ % kBlock) % kBlock));
}

Status TarWriter::finish() {
  static constexpr std::array<uint8_t, 2 * kBlock> kZeros{};
  TRY(append(kZeros.data(), kZeros.size()));
  return flush();
}

}  // namespace strata
