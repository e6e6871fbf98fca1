#include "tar_reader.h"

#include <algorithm>
#include <array>

#include "pseudo_file.h"
#include "tar_header.h"

namespace strata {

namespace {

// Names and xattrs together; the kernel takes names of 4 KiB and xattrs of 64 KiB.
constexpr uint64_t kMostHeaderBytes = 1 << 20;

uint64_t padding_of(uint64_t size) { return (kTarBlock - size % kTarBlock) % kTarBlock; }

}  // namespace

Status TarReader::finish_member() {
  TRY(stream_.skip(data_left_));
  TRY(stream_.skip(padding_));
  data_left_ = padding_ = 0;
  return {};
}

Result<std::span<const uint8_t>> TarReader::data(size_t most) {
  if (data_left_ == 0) {
    return std::span<const uint8_t>();
  }
  const auto piece = TRY(stream_.next(static_cast<size_t>(std::min<uint64_t>(most, data_left_))));
  if (piece.empty()) {
    return damaged_archive("archive", "it is cut off");
  }
  data_left_ -= piece.size();
  return piece;
}

Result<std::string> TarReader::read_text(uint64_t bytes) {
  if (bytes > kMostHeaderBytes) {
    return damaged_archive("archive", "a header of " + std::to_string(bytes) + " bytes");
  }
  std::string text(static_cast<size_t>(bytes), '\0');
  if (!TRY(stream_.read_exactly({reinterpret_cast<uint8_t*>(text.data()), text.size()})) && bytes > 0) {
    return damaged_archive("archive", "it is cut off");
  }
  TRY(stream_.skip(padding_of(bytes)));
  return text;
}

Status TarReader::read_gnu_sparse(const uint8_t* header, TarEntry& entry) {
  const auto real_size = parse_tar_number(header + 483, 12);
  if (!real_size || *real_size < 0) {
    return damaged_archive(entry.name, "the size of its sparse file is not valid");
  }
  entry.size_bytes = static_cast<uint64_t>(*real_size);
  const auto take = [&](const uint8_t* from, size_t count) -> Status {
    for (size_t i = 0; i < count; ++i, from += 24) {
      const auto offset = parse_tar_number(from, 12);
      const auto length = parse_tar_number(from + 12, 12);
      if (from[0] == 0) {
        return {};
      }
      if (!offset || !length || *offset < 0 || *length < 0 || entry.pieces.size() >= kMostSparsePieces) {
        return damaged_archive(entry.name, "the map of its sparse file is not valid");
      }
      entry.pieces.push_back({static_cast<uint64_t>(*offset), static_cast<uint64_t>(*length)});
    }
    return {};
  };
  TRY(take(header + 386, 4));
  std::array<uint8_t, kTarBlock> block;
  for (bool more = header[482] != 0; more; more = block[504] != 0) {
    if (!TRY(stream_.read_exactly(block))) {
      return damaged_archive("archive", "it is cut off");
    }
    TRY(take(block.data(), 21));
  }
  return check_pieces(entry);
}

// Format 1.0: the map stands before the data, decimal numbers one a line, padded to a block.
Status TarReader::read_pax_sparse_map(TarEntry& entry) {
  std::string text;
  size_t at = 0;
  const auto number = [&]() -> Result<uint64_t> {
    for (;;) {
      const size_t end = text.find('\n', at);
      if (end != std::string::npos) {
        const auto value = parse_u64(std::string_view(text).substr(at, end - at));
        at = end + 1;
        if (!value || *value > INT64_MAX) {
          return damaged_archive(entry.name, "the map of its sparse file is not valid");
        }
        return *value;
      }
      std::array<uint8_t, kTarBlock> block;
      if (data_left_ < kTarBlock || text.size() - at > 64 || !TRY(stream_.read_exactly(block))) {
        return damaged_archive(entry.name, "the map of its sparse file is cut off");
      }
      data_left_ -= kTarBlock;
      text.erase(0, at);
      at = 0;
      text.append(reinterpret_cast<const char*>(block.data()), kTarBlock);
    }
  };
  const uint64_t count = TRY(number());
  if (count > kMostSparsePieces) {
    return damaged_archive(entry.name, "the map of its sparse file is too long");
  }
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t offset = TRY(number());
    const uint64_t length = TRY(number());
    entry.pieces.push_back({offset, length});
  }
  entry.stored_bytes = data_left_;
  return check_pieces(entry);
}

// True where the block announced something about the next member (or nothing of use) and was taken in.
Result<bool> TarReader::read_extension(char kind, uint64_t bytes, Extensions& extensions) {
  if (kind != 'g' && kind != 'x' && kind != 'L' && kind != 'K' && kind != 'V') {
    return false;
  }
  extensions.bytes += bytes + kTarBlock;
  if (extensions.bytes > 4 * kMostHeaderBytes) {
    return damaged_archive("archive", "endless extension headers");
  }
  if (kind == 'g') {
    const std::string text = TRY(read_text(bytes));
    PaxHeader global;
    TRY(parse_pax(text, global));
    TRY(global_.take(std::move(global.records)));
  } else if (kind == 'x') {
    const std::string text = TRY(read_text(bytes));
    TRY(parse_pax(text, extensions.pax));
  } else if (kind == 'V') {  // a volume's label
    TRY(stream_.skip(bytes + padding_of(bytes)));
  } else {
    const std::string text = TRY(read_text(bytes));
    (kind == 'L' ? extensions.long_name : extensions.long_link) = text.substr(0, text.find('\0'));
  }
  return true;
}

Result<std::optional<TarEntry>> TarReader::next() {
  TRY(finish_member());
  Extensions extensions;
  std::array<uint8_t, kTarBlock> header;
  uint64_t bytes = 0;
  do {
    if (!TRY(stream_.read_exactly(header))) {
      return damaged_archive("archive", "it ends without an end-of-archive block: it is cut off");
    }
    if (std::all_of(header.begin(), header.end(), [](uint8_t byte) { return byte == 0; })) {
      return std::nullopt;
    }
    const auto size = parse_tar_number(header.data() + 124, 12);
    if (!tar_checksum_matches(header.data()) || !size || *size < 0) {
      return damaged_archive("archive", "the checksum or the size in a header is wrong");
    }
    bytes = static_cast<uint64_t>(*size);
  } while (TRY(read_extension(static_cast<char>(header[156]), bytes, extensions)));

  const PaxRecords& records = extensions.pax.records;
  TarEntry entry = TRY(read_tar_header(header.data(), {.uid = global_.is_said(records, "uid"), .gid = global_.is_said(records, "gid")}));
  entry.stored_bytes = bytes;
  if (!extensions.long_name.empty()) {
    entry.name = std::move(extensions.long_name);
  }
  if (!extensions.long_link.empty()) {
    entry.link_name = std::move(extensions.long_link);
  }
  TRY(global_.apply(records, entry));
  TRY(read_tar_type(header.data(), entry));
  // Only files carry data; what the others have in the size field means nothing (Go's archive/tar reads it the same way).
  if (entry.type != TarType::kFile) {
    entry.stored_bytes = 0;
  }
  data_left_ = entry.stored_bytes;
  padding_ = padding_of(entry.stored_bytes);
  entry.size_bytes = entry.stored_bytes;
  if (header[156] == 'S') {
    entry.sparse = true;
    TRY(read_gnu_sparse(header.data(), entry));
  } else if (entry.type == TarType::kFile && is_pax_sparse(records)) {
    entry.sparse = true;
    const bool has_map = TRY(apply_pax_sparse(extensions.pax, entry));
    if (!has_map) {
      TRY(read_pax_sparse_map(entry));
    }
  }
  if (entry.name.empty() || entry.name.find('\0') != std::string::npos || entry.link_name.find('\0') != std::string::npos) {
    return damaged_archive("archive", "a member has no valid name");
  }
  return entry;
}

}  // namespace strata
