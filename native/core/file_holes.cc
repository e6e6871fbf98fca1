#include "file_holes.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace strata {

namespace {

constexpr uint64_t kLeastHole = 64 * 1024;        // a smaller one is not worth its place in the map
constexpr uint64_t kLeastHoles = uint64_t{1} << 20;
constexpr size_t kMostPieces = kMostSparsePieces - 1;  // as the reader takes, and the last one that may be empty

Status go_on(const std::atomic<bool>* cancelled) {
  if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "pack 'directory'");
  }
  return {};
}

bool is_zeros(std::span<const uint8_t> bytes) { return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0; }

// The empty piece at the end of a file that ends with a hole tells readers how long it is.
void end_pieces(std::vector<TarSparsePiece>& pieces, uint64_t size) {
  if (pieces.empty() || pieces.back().offset + pieces.back().length < size) {
    pieces.push_back({size, 0});
  }
}

struct Extent {
  uint64_t from = 0, to = 0;
};

// The first bytes at or behind `at` that are not known to be zeros. Not more than a hint: where the file system tells nonsense or nothing, all of it.
Extent stored_extent(int file, uint64_t at, uint64_t size) {
  const off_t data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
  if (data < 0) {
    return errno == ENXIO ? Extent{size, size} : Extent{at, size};
  }
  const off_t hole = ::lseek(file, data, SEEK_HOLE);
  if (data < static_cast<off_t>(at) || hole <= data) {
    return {at, size};
  }
  return {std::min(static_cast<uint64_t>(data), size), std::min(static_cast<uint64_t>(hole), size)};
}

// Fewer bytes than asked for where the file ends before; the rest counts as zeros then.
Status read_fully(int file, uint64_t at, std::span<uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return fail_errno("read 'file'");
    }
    if (got == 0) {
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(done), bytes.end(), uint8_t{0});
      break;
    }
    done += static_cast<size_t>(got);
  }
  return {};
}

}  // namespace

Result<std::vector<TarSparsePiece>> pieces_as_stored(int file, uint64_t size_bytes, const std::atomic<bool>* cancelled) {
  const auto size = static_cast<off_t>(size_bytes);
  std::vector<TarSparsePiece> pieces;
  uint64_t end = 0;  // of the last piece
  for (off_t at = 0; at < size;) {
    TRY(go_on(cancelled));
    off_t data = ::lseek(file, at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
      return std::vector<TarSparsePiece>();
    }
    data = data < 0 ? size : std::min(data, size);
    off_t hole = data < size ? ::lseek(file, data, SEEK_HOLE) : size;
    hole = hole < 0 ? size : std::min(hole, size);
    if (data < at || (hole <= data && data < size)) {
      return std::vector<TarSparsePiece>();  // a file system of the container's own may say anything
    }
    const bool apart = static_cast<uint64_t>(data) - end >= kLeastHole && pieces.size() < kMostPieces;
    if (pieces.empty() && !apart) {
      pieces.push_back({0, 0});
    }
    if (apart) {
      pieces.push_back({static_cast<uint64_t>(data), static_cast<uint64_t>(hole - data)});
    } else {
      pieces.back().length = static_cast<uint64_t>(hole) - pieces.back().offset;
    }
    end = static_cast<uint64_t>(hole);
    at = hole;
  }
  if (pieces.size() == 1 && pieces.front().offset == 0) {
    pieces.clear();
  }
  return pieces;
}

Result<std::vector<TarSparsePiece>> pieces_by_content(int file, uint64_t size, std::span<uint8_t> memory, const std::atomic<bool>* cancelled) {
  std::vector<TarSparsePiece> pieces;
  if (size < kLeastHoles) {
    return pieces;
  }
  uint64_t stored = 0;
  const auto add_data = [&](uint64_t from, uint64_t to) {
    if (!pieces.empty() && (pieces.back().offset + pieces.back().length == from || pieces.size() == kMostPieces)) {
      from = pieces.back().offset + pieces.back().length;
      pieces.back().length += to - from;
    } else {
      pieces.push_back({from, to - from});
    }
    stored += to - from;
  };
  Extent extent;
  for (uint64_t at = 0; at < size;) {
    TRY(go_on(cancelled));
    if (at >= extent.to) {
      extent = stored_extent(file, at, size);
    }
    if (extent.from >= at + kLeastHole || extent.from == size) {
      at = extent.from == size ? size : extent.from / kLeastHole * kLeastHole;
      continue;
    }
    const std::span<uint8_t> window = memory.first(static_cast<size_t>(std::min<uint64_t>(memory.size(), size - at)));
    TRY(read_fully(file, at, window));
    for (size_t from = 0; from < window.size(); from += kLeastHole) {
      const auto chunk = window.subspan(from, std::min<size_t>(kLeastHole, window.size() - from));
      if (!is_zeros(chunk)) {
        add_data(at + from, at + from + chunk.size());
      }
    }
    at += window.size();
  }
  if (size - stored < kLeastHoles) {
    pieces.clear();
    return pieces;
  }
  end_pieces(pieces, size);
  return pieces;
}

}  // namespace strata
