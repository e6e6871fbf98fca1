#include "upper_changes.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <set>
#include <memory>

#include "overlay_marks.h"
#include "sys.h"
#include "tree.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr size_t kMostNames = 4'000'000;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

uint64_t size_of(const struct stat& status) { return S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0; }

// What the layers below show under one path.
struct Below {
  UniqueFd node;  // the topmost; not valid: nothing
  struct stat status {};
  std::vector<size_t> directories;  // the layers that it is merged of, where it is a directory
};

bool differs(int upper_node, const struct stat& upper, const Below& below) {
  const struct stat& lower = below.status;
  if (upper.st_mode != lower.st_mode || upper.st_uid != lower.st_uid || upper.st_gid != lower.st_gid || upper.st_rdev != lower.st_rdev) {
    return true;
  }
  if (S_ISDIR(upper.st_mode)) {
    return false;
  }
  if (upper.st_size != lower.st_size || upper.st_mtim.tv_sec != lower.st_mtim.tv_sec || upper.st_mtim.tv_nsec != lower.st_mtim.tv_nsec) {
    return true;
  }
  return S_ISREG(upper.st_mode) && node_attribute(upper_node, "security.capability") != node_attribute(below.node.get(), "security.capability");
}

class Comparison {
 public:
  Comparison(const ChangeVisitor& visit, const std::atomic<bool>* cancelled) : visit_(visit), cancelled_(cancelled) {}

  [[nodiscard]] Status open(const std::string& upper, const std::vector<std::string>& lower);
  [[nodiscard]] Status run();

 private:
  // A directory of the upper on the way to what is looked at.
  struct Level {
    std::string path;
    std::vector<size_t> below;  // the lower layers that have it
    bool said = false;
  };

  [[nodiscard]] Result<Below> look_below(const std::vector<size_t>& layers, const std::string& path) const;
  [[nodiscard]] Result<bool> compare(const TreeEntry& entry);
  [[nodiscard]] Status say(ChangeKind kind, const std::string& path, const struct stat& status);
  [[nodiscard]] Status say_hidden(int node, const Level& level);
  [[nodiscard]] Result<std::set<std::string>> names_below(const Level& level) const;

  const ChangeVisitor& visit_;
  const std::atomic<bool>* cancelled_;
  UniqueFd upper_;
  std::vector<UniqueFd> lower_;
  std::vector<Level> levels_;
};

Status Comparison::open(const std::string& upper, const std::vector<std::string>& lower) {
  upper_ = TRY(real_sys().open_at(AT_FDCWD, upper, O_RDONLY | O_DIRECTORY, 0, 0));
  for (const std::string& path : lower) {
    lower_.push_back(TRY(real_sys().open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, 0)));
  }
  Level root;
  root.said = true;
  for (size_t layer = 0; layer < lower_.size(); ++layer) {
    root.below.push_back(layer);
    if (is_opaque(lower_[layer].get())) {
      break;
    }
  }
  levels_.push_back(std::move(root));
  return {};
}

Result<Below> Comparison::look_below(const std::vector<size_t>& layers, const std::string& path) const {
  Below below;
  for (const size_t layer : layers) {
    auto node = real_sys().open_at(lower_[layer].get(), path, O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    struct stat status;
    if (!node && (node.error().errno_value == ENOENT || node.error().errno_value == ENOTDIR)) {
      continue;
    }
    if (!node) {
      return std::unexpected(std::move(node).error());
    }
    if (::fstat(node->get(), &status) != 0) {
      return fail_errno("stat '" + path + "'");
    }
    if (is_hiding(node->get(), status) || (below.node && !S_ISDIR(status.st_mode))) {
      break;
    }
    const bool ends = !S_ISDIR(status.st_mode) || is_opaque(node->get());
    if (S_ISDIR(status.st_mode)) {
      below.directories.push_back(layer);
    }
    if (!below.node) {
      below.node = std::move(*node);
      below.status = status;
    }
    if (ends) {
      break;
    }
  }
  return below;
}

// A change below a directory is one of the directory, which is said first.
Status Comparison::say(ChangeKind kind, const std::string& path, const struct stat& status) {
  for (Level& level : levels_) {
    if (!level.said) {
      level.said = true;
      TRY(visit_({ChangeKind::kChanged, "/" + level.path, LayerEntryKind::kDirectory, 0}));
    }
  }
  return visit_({kind, "/" + path, node_kind(status), size_of(status)});
}

// Each name that the lower layers show in this directory.
Result<std::set<std::string>> Comparison::names_below(const Level& level) const {
  std::set<std::string> names;
  for (const size_t layer : level.below) {
    auto directory = TRY(real_sys().open_at(lower_[layer].get(), level.path, O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
    const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(directory.get()));
    if (stream == nullptr) {
      return fail_errno("read '" + level.path + "'");
    }
    static_cast<void>(directory.release());
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") {
        names.emplace(name);
      }
      if (names.size() > kMostNames) {
        return fail(E2BIG, "read '" + level.path + "'", "a directory of the image has too many names");
      }
    }
  }
  return names;
}

// What an opaque directory hides and does not have itself was deleted.
Status Comparison::say_hidden(int node, const Level& level) {
  const UniqueFd directory(::openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    return fail_errno("open '" + level.path + "'");
  }
  for (const std::string& name : TRY(names_below(level))) {
    struct stat status;
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
      continue;
    }
    const std::string path = level.path + "/" + name;
    const Below below = TRY(look_below(level.below, path));
    if (below.node) {
      TRY(say(ChangeKind::kDeleted, path, below.status));
    }
  }
  return {};
}

// Whether what is in it is to be looked at.
Result<bool> Comparison::compare(const TreeEntry& entry) {
  if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "compare 'layers'");
  }
  levels_.resize(entry.depth);
  const UniqueFd node(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!node || ::fstat(node.get(), &status) != 0) {
    if (errno == ENOENT) {
      return false;
    }
    return fail_errno("open '" + entry.path + "'");
  }
  const std::string path = entry.path;
  // A directory that was renamed with redirect_dir is another one than the one of that name below.
  const bool is_moved = S_ISDIR(status.st_mode) && has_node_attribute(node.get(), "trusted.overlay.redirect");
  Below below = is_moved ? Below{} : TRY(look_below(levels_.back().below, path));
  if (is_hiding(node.get(), status)) {
    if (below.node) {
      TRY(say(ChangeKind::kDeleted, path, below.status));
    }
    return false;
  }
  const bool is_same = below.node && !differs(node.get(), status, below);
  if (!is_same) {
    TRY(say(below.node ? ChangeKind::kChanged : ChangeKind::kAdded, path, status));
  }
  if (!S_ISDIR(status.st_mode)) {
    return true;
  }
  levels_.push_back({path, std::move(below.directories), !is_same});
  if (!levels_.back().below.empty() && is_opaque(node.get())) {
    const Level level = levels_.back();
    TRY(say_hidden(node.get(), level));
  }
  return true;
}

Status Comparison::run() {
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> { return when == TreeVisit::kAfter || TRY(compare(entry)); };
  return walk_tree(upper_.get(), TreeOrder::kByName, visit, {.most_names = kMostNames, .changes = true});
}

}  // namespace

Status find_upper_changes(const std::string& upper, const std::vector<std::string>& lower, const ChangeVisitor& visit, const std::atomic<bool>* cancelled) {
  Comparison comparison(visit, cancelled);
  TRY(comparison.open(upper, lower));
  return comparison.run();
}

}  // namespace strata
