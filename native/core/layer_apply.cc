#include "layer_apply.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "entry_attributes.h"
#include "layer_stream.h"
#include "layer_tree.h"
#include "tar_reader.h"
#include "unique_fd.h"

namespace strata {

namespace {

class Unpacker {
 public:
  Unpacker(int destination, const ApplyOptions& options) : tree_(destination, options.whiteouts), options_(options) {
    directory_times_.emplace("", timespec{});
  }

  [[nodiscard]] Status unpack(const TarEntry& entry, TarReader& reader);
  // Creating things in a directory changes its time, so the directories' times come last.
  [[nodiscard]] Status finish();
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] uint64_t entries() const { return entries_; }

 private:
  [[nodiscard]] Status unpack_whiteout(int parent, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status unpack_file(int parent, const std::string& name, const TarEntry& entry, TarReader& reader);
  [[nodiscard]] Status unpack_directory(int parent, const std::string& name, const std::string& path, const TarEntry& entry);
  [[nodiscard]] Status unpack_symlink(int parent, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status unpack_hard_link(int parent, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status unpack_node(int parent, const std::string& name, const TarEntry& entry);
  [[nodiscard]] Status remember_time(const std::string& path, timespec time);
  [[nodiscard]] Status count_bytes(const TarEntry& entry);

  LayerTree tree_;
  const ApplyOptions& options_;
  // By path: an archive may say a directory any number of times. One that it does not say is as old as the epoch, so that the same archive makes the
  // same layer whenever it is unpacked.
  std::map<std::string, timespec> directory_times_;
  uint64_t directory_bytes_ = 0;
  uint64_t size_bytes_ = 0;
  uint64_t stored_bytes_ = 0;
  uint64_t entries_ = 0;
};

Status Unpacker::count_bytes(const TarEntry& entry) {
  const auto add = [&](uint64_t& sum, uint64_t bytes, uint64_t most) -> Status {
    if (bytes > most || sum > most - bytes) {
      return fail(E2BIG, "unpack '" + entry.name + "'", "the layer is larger than the limit of " + std::to_string(most) + " bytes");
    }
    sum += bytes;
    return {};
  };
  TRY(add(stored_bytes_, entry.stored_bytes, options_.max_bytes));
  return add(size_bytes_, entry.size_bytes, options_.max_size_bytes);
}

Status Unpacker::unpack_file(int parent, const std::string& name, const TarEntry& entry, TarReader& reader) {
  TRY(count_bytes(entry));
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(::openat(parent, name.c_str(), kFlags, creation_mode(entry)));
  if (!fd && errno == EEXIST) {
    TRY(tree_.replace(parent, name));
    fd = UniqueFd(::openat(parent, name.c_str(), kFlags, creation_mode(entry)));
  }
  if (!fd) {
    return fail_errno("create '" + entry.name + "'");
  }
  TRY(write_data(fd.get(), entry, reader));
  return set_attributes(fd.get(), entry);
}

Status Unpacker::unpack_directory(int parent, const std::string& name, const std::string& path, const TarEntry& entry) {
  bool hides_lower = false;
  if (::mkdirat(parent, name.c_str(), creation_mode(entry)) != 0) {
    struct stat status;
    if (errno != EEXIST || ::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno("mkdir '" + entry.name + "'");
    }
    if (!S_ISDIR(status.st_mode)) {
      hides_lower = options_.whiteouts && is_whiteout(status);
      TRY(tree_.replace(parent, name));
      if (::mkdirat(parent, name.c_str(), creation_mode(entry)) != 0) {
        return fail_errno("mkdir '" + entry.name + "'");
      }
    }
  }
  const UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    return fail_errno("open '" + entry.name + "'");
  }
  TRY(set_attributes(fd.get(), entry));
  if (hides_lower) {
    TRY(set_opaque(fd.get(), entry.name));
  }
  return remember_time(path, entry_time(entry));
}

Status Unpacker::remember_time(const std::string& path, timespec time) {
  constexpr uint64_t kNodeBytes = 128;
  if (directory_times_.insert_or_assign(path, time).second) {
    directory_bytes_ += path.size() + kNodeBytes;
  }
  if (directory_bytes_ > options_.max_directory_bytes) {
    return fail(E2BIG, "unpack '" + path + "'", "the layer has too many directories");
  }
  return {};
}

Status Unpacker::unpack_symlink(int parent, const std::string& name, const TarEntry& entry) {
  if (entry.link_name.empty()) {
    return fail(EBADMSG, "read '" + entry.name + "'", "a symbolic link without a target");
  }
  if (::symlinkat(entry.link_name.c_str(), parent, name.c_str()) != 0) {
    if (errno != EEXIST) {
      return fail_errno("symlink '" + entry.name + "'");
    }
    TRY(tree_.replace(parent, name));
    if (::symlinkat(entry.link_name.c_str(), parent, name.c_str()) != 0) {
      return fail_errno("symlink '" + entry.name + "'");
    }
  }
  return set_attributes_at(parent, name, entry);
}

Status Unpacker::unpack_hard_link(int parent, const std::string& name, const TarEntry& entry) {
  const std::string target = TRY(path_in_layer(entry.link_name));
  const size_t slash = target.rfind('/');
  const std::string target_name = slash == std::string::npos ? target : target.substr(slash + 1);
  const UniqueFd target_parent = tree_.open(slash == std::string::npos ? "" : target.substr(0, slash), O_PATH | O_DIRECTORY);
  struct stat status;
  // The target itself is not followed: a hard link to a symbolic link is one more name of that link.
  if (target.empty() || !target_parent || ::fstatat(target_parent.get(), target_name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(status.st_mode)) {
    return fail(EBADMSG, "read '" + entry.name + "'", "its hard link's target '" + entry.link_name + "' is not in the archive before it");
  }
  if (::linkat(target_parent.get(), target_name.c_str(), parent, name.c_str(), 0) == 0) {
    return {};
  }
  if (errno != EEXIST) {
    return fail_errno("link '" + entry.name + "'");
  }
  struct stat present;
  if (::fstatat(parent, name.c_str(), &present, AT_SYMLINK_NOFOLLOW) == 0 && present.st_dev == status.st_dev && present.st_ino == status.st_ino) {
    return {};  // that link already, or a link to itself
  }
  TRY(tree_.replace(parent, name));
  if (::linkat(target_parent.get(), target_name.c_str(), parent, name.c_str(), 0) != 0) {
    return fail_errno("link '" + entry.name + "'");
  }
  return {};
}

Status Unpacker::unpack_node(int parent, const std::string& name, const TarEntry& entry) {
  const mode_t kind = entry.type == TarType::kFifo ? S_IFIFO : entry.type == TarType::kCharDevice ? S_IFCHR : S_IFBLK;
  const dev_t device = entry.type == TarType::kFifo ? 0 : makedev(entry.device_major, entry.device_minor);
  if (::mknodat(parent, name.c_str(), kind | creation_mode(entry), device) != 0) {
    if (errno != EEXIST) {
      return fail_errno("mknod '" + entry.name + "'");
    }
    TRY(tree_.replace(parent, name));
    if (::mknodat(parent, name.c_str(), kind | creation_mode(entry), device) != 0) {
      return fail_errno("mknod '" + entry.name + "'");
    }
  }
  return set_attributes_at(parent, name, entry);
}

// image-spec, layer.md: a whiteout hides what lower layers have; what this layer has under the same name stays, whichever comes first.
Status Unpacker::unpack_whiteout(int parent, const std::string& name, const TarEntry& entry) {
  if (name == ".wh..wh..opq") {
    const UniqueFd directory(::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) {
      return fail_errno("open the parent of '" + entry.name + "'");
    }
    return set_opaque(directory.get(), entry.name);
  }
  if (name.starts_with(".wh..wh.")) {
    return {};  // aufs's own bookkeeping
  }
  const std::string hidden = name.substr(4);
  if (hidden.empty() || hidden == "." || hidden == "..") {
    return unsafe_name(entry.name, "a whiteout of no valid name");
  }
  if (::mknodat(parent, hidden.c_str(), S_IFCHR, 0) == 0) {
    return {};
  }
  if (errno != EEXIST) {
    return fail_errno("mknod '" + entry.name + "'");
  }
  const UniqueFd directory(::openat(parent, hidden.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return directory ? set_opaque(directory.get(), entry.name) : Status{};
}

Status Unpacker::unpack(const TarEntry& entry, TarReader& reader) {
  if (++entries_ > options_.max_entries) {
    return fail(E2BIG, "unpack '" + entry.name + "'", "the layer has more than " + std::to_string(options_.max_entries) + " entries");
  }
  const std::string path = TRY(path_in_layer(entry.name));
  if (path.empty()) {
    if (entry.type != TarType::kDirectory) {
      return unsafe_name(entry.name, "only a directory can stand for the layer's root");
    }
    const UniqueFd root(::openat(tree_.root(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root) {
      return fail_errno("open 'destination'");
    }
    TRY(remember_time("", entry_time(entry)));
    return set_attributes(root.get(), entry);
  }
  const size_t slash = path.rfind('/');
  const bool hides = options_.whiteouts && path.compare(slash == std::string::npos ? 0 : slash + 1, 4, ".wh.") == 0;
  // What this layer removes as a whole need not be removed in parts, and nothing of it comes back for that.
  if (hides && slash != std::string::npos && tree_.is_hidden(path.substr(0, slash))) {
    return {};
  }
  std::string name;
  const int parent = TRY(tree_.parent_of(path, name));
  for (const std::string& implied : tree_.take_implied()) {
    TRY(remember_time(implied, {}));
  }
  if (hides) {
    return unpack_whiteout(parent, name, entry);
  }
  switch (entry.type) {
    case TarType::kFile:
      return unpack_file(parent, name, entry, reader);
    case TarType::kDirectory:
      return unpack_directory(parent, name, path, entry);
    case TarType::kSymlink:
      return unpack_symlink(parent, name, entry);
    case TarType::kHardLink:
      return unpack_hard_link(parent, name, entry);
    case TarType::kCharDevice:
    case TarType::kBlockDevice:
    case TarType::kFifo:
      return unpack_node(parent, name, entry);
  }
  return {};
}

Status Unpacker::finish() {
  for (const auto& [path, time] : directory_times_) {
    // Replaced by something else since: O_NOFOLLOW and O_DIRECTORY refuse it, and its time is its own.
    const UniqueFd fd = tree_.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) {
      continue;
    }
    const timespec times[2] = {time, time};
    if (::futimens(fd.get(), times) != 0) {
      return fail_errno("utimens '" + path + "'");
    }
  }
  return {};
}

}  // namespace

Result<UniqueFd> open_archive(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status;
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return fail_errno("open '" + path + "'");
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(EINVAL, "open '" + path + "'", "it is no regular file");
  }
  return fd;
}

Result<AppliedLayer> apply_layer(int source, int destination, const ApplyOptions& options) {
  LayerStream stream(source, options.compression, options.cancelled, options.least_source_bytes);
  stream.limit_expansion(options.free_expansion_bytes, options.max_expansion);
  TarReader reader(stream);
  Unpacker unpacker(destination, options);
  for (;;) {
    if (options.cancelled != nullptr && options.cancelled->load(std::memory_order_relaxed)) {
      return fail(ECANCELED, "unpack 'layer'");
    }
    const auto entry = TRY(reader.next());
    if (!entry) {
      break;
    }
    TRY(unpacker.unpack(*entry, reader));
  }
  // Padding belongs to the digests. More than a tape's record of it is somebody's joke.
  TRY(stream.drain(uint64_t{64} << 20));
  TRY(unpacker.finish());
  AppliedLayer layer;
  LayerStream::Digests digests = stream.finish();
  layer.diff_id = std::move(digests.diff_id);
  layer.digest = std::move(digests.compressed);
  layer.compressed_bytes = digests.compressed_bytes;
  layer.size_bytes = unpacker.size_bytes();
  layer.entries = unpacker.entries();
  return layer;
}

}  // namespace strata
