#include "layer_browse.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "layer_tree.h"
#include "overlay_marks.h"

namespace strata {

namespace {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// openat2(2) with the layer's directory as "/": absolute links and ".." stay inside, /proc's magic links are refused.
Result<UniqueFd> open_in(const std::string& root, const std::string& path, int flags) {
  const UniqueFd directory(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    return fail_errno("open '" + root + "'");
  }
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  int fd = 0;
  int attempts = 0;
  do {
    fd = static_cast<int>(::syscall(SYS_openat2, directory.get(), path.empty() ? "/" : path.c_str(), &how, sizeof how));
  } while (fd < 0 && errno == EAGAIN && ++attempts < 100);
  if (fd < 0) {
    return fail_errno("open '" + path + "'");
  }
  return UniqueFd(fd);
}

// At most, as JSON: what is no UTF-8 becomes U+FFFD, a control character an escape of six.
size_t json_bytes(const std::string& text) {
  size_t bytes = 0;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    bytes += byte < 0x20 ? 6 : byte >= 0x80 ? 3 : byte == '"' || byte == '\\' ? 2 : 1;
  }
  return bytes;
}

}  // namespace

LayerEntryKind node_kind(const struct stat& status) {
  switch (status.st_mode & S_IFMT) {
    case S_IFDIR:
      return LayerEntryKind::kDirectory;
    case S_IFLNK:
      return LayerEntryKind::kSymlink;
    case S_IFCHR:
    case S_IFBLK:
      return LayerEntryKind::kDevice;
    case S_IFIFO:
      return LayerEntryKind::kFifo;
    case S_IFSOCK:
      return LayerEntryKind::kSocket;
    default:
      return LayerEntryKind::kFile;
  }
}

LayerEntry describe_node(int node, const struct stat& status, std::string name) {
  LayerEntry entry;
  entry.name = std::move(name);
  entry.kind = node_kind(status);
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.size_bytes = S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0;
  entry.mtime_ms = static_cast<double>(status.st_mtim.tv_sec) * 1000 + static_cast<double>(status.st_mtim.tv_nsec / 1000) / 1000;
  if (S_ISLNK(status.st_mode)) {
    entry.link_target = read_link(node);
  }
  return entry;
}

std::string read_link(int node) {
  std::string target(4096, '\0');
  const ssize_t length = ::readlinkat(node, "", target.data(), target.size());
  target.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return target;
}

Result<UniqueFd> open_regular_file(int node, const std::string& path) {
  struct stat status;
  if (::fstat(node, &status) != 0) {
    return fail_errno("stat '" + path + "'");
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(S_ISDIR(status.st_mode) ? EISDIR : EINVAL, "open '" + path + "'", "only regular files can be opened");
  }
  UniqueFd fd(::open(("/proc/self/fd/" + std::to_string(node)).c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) {
    return fail_errno("open '" + path + "'");
  }
  return fd;
}

namespace {

LayerEntry describe_in_layer(int node, const struct stat& status, std::string name) {
  LayerEntry entry = describe_node(node, status, std::move(name));
  if (is_whiteout(status)) {
    entry.kind = LayerEntryKind::kWhiteout;
  }
  entry.opaque = S_ISDIR(status.st_mode) && is_opaque(node);
  return entry;
}

}  // namespace

size_t json_bytes(const LayerEntry& entry) {
  constexpr size_t kMembers = 220;  // the names and the numbers
  return kMembers + json_bytes(entry.name) + (entry.link_target ? json_bytes(*entry.link_target) : 0);
}

const char* layer_entry_kind_name(LayerEntryKind kind) {
  switch (kind) {
    case LayerEntryKind::kFile:
      return "file";
    case LayerEntryKind::kDirectory:
      return "directory";
    case LayerEntryKind::kSymlink:
      return "symlink";
    case LayerEntryKind::kDevice:
      return "device";
    case LayerEntryKind::kFifo:
      return "fifo";
    case LayerEntryKind::kSocket:
      return "socket";
    case LayerEntryKind::kWhiteout:
      return "whiteout";
  }
  return "";
}

Result<LayerListing> list_directory(UniqueFd directory, const std::string& path, const Describe& describe, size_t limit, size_t most_bytes) {
  const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(directory.get()));
  if (stream == nullptr) {
    return fail_errno("read '" + path + "'");
  }
  const int fd = directory.release();
  std::vector<std::string> names;
  size_t found = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) {
        return fail_errno("read '" + path + "'");
      }
      break;
    }
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..") {
      ++found;
      names.emplace_back(entry->d_name);
    }
    if (names.size() >= 2 * limit + 1024) {
      // In steps: the first ones are wanted, and a directory may have millions.
      std::nth_element(names.begin(), names.begin() + static_cast<ptrdiff_t>(limit), names.end());
      names.resize(limit);
    }
  }
  LayerListing listing;
  listing.truncated = found > limit;
  const size_t count = std::min(names.size(), limit);
  std::partial_sort(names.begin(), names.begin() + static_cast<ptrdiff_t>(count), names.end());
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const UniqueFd node(::openat(fd, names[i].c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status;
    if (node && ::fstat(node.get(), &status) == 0) {  // else removed meanwhile
      LayerEntry entry = describe(node.get(), status, std::move(names[i]));
      bytes += json_bytes(entry);
      if (bytes > most_bytes) {
        listing.truncated = true;
        break;
      }
      listing.entries.push_back(std::move(entry));
    }
  }
  return listing;
}

Result<LayerListing> list_layer(const std::string& root, const std::string& path, size_t limit, size_t most_bytes) {
  return list_directory(TRY(open_in(root, path, O_RDONLY | O_DIRECTORY)), path, describe_in_layer, limit, most_bytes);
}

Result<LayerEntry> stat_layer(const std::string& root, const std::string& path) {
  const UniqueFd node = TRY(open_in(root, path, O_PATH | O_NOFOLLOW));
  struct stat status;
  if (::fstat(node.get(), &status) != 0) {
    return fail_errno("stat '" + path + "'");
  }
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') {
    name.pop_back();
  }
  name = name.empty() || name == "/" ? "/" : name.substr(name.rfind('/') + 1);
  return describe_in_layer(node.get(), status, std::move(name));
}

Result<UniqueFd> open_layer_file(const std::string& root, const std::string& path) {
  const UniqueFd node = TRY(open_in(root, path, O_PATH));
  return open_regular_file(node.get(), path);
}

}  // namespace strata
