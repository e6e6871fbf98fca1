#include "layer_merge.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <memory>
#include <set>

#include "member_writer.h"
#include "overlay_marks.h"
#include "sys.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr uint64_t kInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// A directory on the way to what is looked at.
struct Level {
  std::string path;            // "" for the root
  std::vector<size_t> layers;  // that it is merged of, top first
  std::vector<std::string> names = {};  // sorted
  size_t next = 0;
};

// What the layers show under one path.
struct Shown {
  UniqueFd node;  // the topmost; not valid: nothing, or a whiteout
  struct stat status {};
  std::vector<size_t> directories;  // the layers that it is merged of, where it is a directory
  bool hides = false;               // what layers below these have under that path
};

class Merge {
 public:
  Merge(const std::vector<int>& layers, bool over_base, TarSink& output, const PackOptions& options)
      : layers_(layers), over_base_(over_base), options_(options),
        writer_(output, {.max_bytes = options.max_bytes, .layer = true, .cancelled = options.cancelled}) {}

  [[nodiscard]] Result<PackedTree> run();

 private:
  [[nodiscard]] Result<Shown> look(const std::vector<size_t>& layers, const std::string& path) const;
  [[nodiscard]] Status enter(const std::string& path, std::vector<size_t> directories);
  [[nodiscard]] Status write(Shown shown, const std::string& path);
  [[nodiscard]] Status write_marker(const std::string& name);

  const std::vector<int>& layers_;
  const bool over_base_;
  const PackOptions& options_;
  MemberWriter writer_;
  std::vector<Level> levels_;
  uint64_t names_ = 0;
};

Result<Shown> Merge::look(const std::vector<size_t>& layers, const std::string& path) const {
  Shown shown;
  for (const size_t layer : layers) {
    auto node = real_sys().open_at(layers_[layer], path.empty() ? "." : path, O_PATH | O_NOFOLLOW, 0, kInside);
    if (!node && node.error().errno_value == ENOENT) {
      continue;
    }
    if (!node) {
      return std::unexpected(std::move(node).error());
    }
    struct stat status;
    if (::fstat(node->get(), &status) != 0) {
      return fail_errno("stat '" + path + "'");
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    shown.hides = is_hiding(node->get(), status) || !is_directory || is_opaque(node->get());
    if (is_directory) {
      shown.directories.push_back(layer);
    }
    if (!shown.node && !is_hiding(node->get(), status)) {
      shown.node = std::move(*node);
      shown.status = status;
    }
    if (shown.hides) {
      break;
    }
  }
  return shown;
}

Status Merge::enter(const std::string& path, std::vector<size_t> directories) {
  std::set<std::string> names;
  for (const size_t layer : directories) {
    UniqueFd directory = TRY(real_sys().open_at(layers_[layer], path.empty() ? "." : path, O_RDONLY | O_DIRECTORY, 0, kInside));
    const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(directory.get()));
    if (stream == nullptr) {
      return fail_errno("read '" + path + "'");
    }
    static_cast<void>(directory.release());
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != ".." && names.emplace(name).second && ++names_ > options_.max_entries) {
        return fail(E2BIG, "read '" + path + "'", "the layers have more than " + std::to_string(options_.max_entries) + " entries");
      }
      errno = 0;
    }
    if (errno != 0) {
      return fail_errno("read '" + path + "'");
    }
  }
  levels_.push_back({.path = path, .layers = std::move(directories), .names = {names.begin(), names.end()}});
  return {};
}

Status Merge::write_marker(const std::string& name) {
  TarEntry member;
  member.name = name;
  return writer_.write_empty(member);
}

Status Merge::write(Shown shown, const std::string& path) {
  if (!shown.node) {
    const size_t base = path.rfind('/') + 1;
    return over_base_ && shown.hides ? write_marker(path.substr(0, base) + ".wh." + path.substr(base)) : Status{};
  }
  TRY(writer_.write(shown.node.get(), shown.status, path.empty() ? "." : path));
  if (!S_ISDIR(shown.status.st_mode)) {
    return {};
  }
  if (over_base_ && shown.hides) {
    TRY(write_marker(path.empty() ? ".wh..wh..opq" : path + "/.wh..wh..opq"));
  }
  return enter(path, std::move(shown.directories));
}

Result<PackedTree> Merge::run() {
  std::vector<size_t> all;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    all.push_back(layer);
  }
  Shown root = TRY(look(all, ""));
  TRY(write(std::move(root), ""));
  while (!levels_.empty()) {
    TRY(writer_.go_on());
    Level& level = levels_.back();
    if (level.next == level.names.size()) {
      levels_.pop_back();
      continue;
    }
    const std::string path = (level.path.empty() ? "" : level.path + "/") + level.names[level.next++];
    Shown shown = TRY(look(level.layers, path));
    TRY(write(std::move(shown), path));
  }
  TRY(writer_.finish());
  return PackedTree{writer_.entries(), writer_.bytes()};
}

}  // namespace

Result<PackedTree> pack_merged(const std::vector<int>& layers, bool over_base, TarSink& output, const PackOptions& options) {
  return Merge(layers, over_base, output, options).run();
}

}  // namespace strata
