#include "upper_changes.h"

#include <fcntl.h>
#include <unistd.h>

#include "layers_below.h"
#include "overlay_marks.h"
#include "sys.h"
#include "tree.h"
#include "unique_fd.h"

namespace strata {

namespace {

constexpr size_t kMostNames = 4'000'000;


uint64_t size_of(const struct stat& status) { return S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0; }

std::string joined(const std::string& directory, const char* name) { return directory.empty() ? name : directory + "/" + name; }

// An entry of the upper. Only what has to be asked for its attributes is opened.
struct Node {
  const TreeEntry& entry;
  struct stat status {};
  UniqueFd fd;

  // False: it has vanished.
  [[nodiscard]] Result<bool> look() {
    if (::fstatat(entry.parent, entry.name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      return true;
    }
    return errno == ENOENT ? Result<bool>(false) : fail_errno("stat '" + entry.path + "'");
  }
  [[nodiscard]] Result<bool> open() {
    if (fd) {
      return true;
    }
    fd.reset(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (fd && ::fstat(fd.get(), &status) == 0) {
      return true;
    }
    return errno == ENOENT ? Result<bool>(false) : fail_errno("open '" + entry.path + "'");
  }
};

// By what a look costs alone: a copy that overlay made has the time of what it is a copy of.
bool differs_at_a_glance(const struct stat& upper, const struct stat& lower) {
  if (upper.st_mode != lower.st_mode || upper.st_uid != lower.st_uid || upper.st_gid != lower.st_gid || upper.st_rdev != lower.st_rdev) {
    return true;
  }
  if (S_ISDIR(upper.st_mode)) {
    return false;
  }
  return upper.st_size != lower.st_size || upper.st_mtim.tv_sec != lower.st_mtim.tv_sec || upper.st_mtim.tv_nsec != lower.st_mtim.tv_nsec;
}

class Comparison {
 public:
  Comparison(const ChangeVisitor& visit, const ChangeOptions& options) : visit_(visit), options_(options) {}

  [[nodiscard]] Status open(const std::string& upper, const std::vector<std::string>& lower);
  [[nodiscard]] Status run();

 private:
  // A directory of the upper on the way to what is looked at.
  struct Level {
    std::string path;
    std::string path_below;     // where the layers below have it: another one where it was renamed
    std::vector<size_t> below;  // those that have it
    bool said = false;
  };

  [[nodiscard]] Result<Below> look_below(Node& node, std::string& moved_from);
  [[nodiscard]] Result<NodeDifferences> differences(Node& node, const Below& below);
  [[nodiscard]] Result<bool> compare(const TreeEntry& entry);
  [[nodiscard]] Result<bool> tell(const Node& node, const Below& below, const NodeDifferences& differences, std::string moved_from);
  [[nodiscard]] Status say(UpperChange change);
  [[nodiscard]] Status say_deleted(const std::string& path, const Below& below);
  [[nodiscard]] Status say_hidden(int node, const Level& level);
  [[nodiscard]] std::optional<NodeBelow> told_below(const Below& below) const;

  const ChangeVisitor& visit_;
  const ChangeOptions& options_;
  UniqueFd upper_;
  LayersBelow below_;
  std::vector<Level> levels_;
};

Status Comparison::open(const std::string& upper, const std::vector<std::string>& lower) {
  upper_ = TRY(real_sys().open_at(AT_FDCWD, upper, O_RDONLY | O_DIRECTORY, 0, 0));
  TRY(below_.open(lower));
  levels_.push_back({.path = {}, .path_below = {}, .below = below_.root(), .said = true});
  return {};
}

std::optional<NodeBelow> Comparison::told_below(const Below& below) const {
  if (!options_.details || !below.exists) {
    return std::nullopt;
  }
  return NodeBelow{below.layer, node_kind(below.status), size_of(below.status)};
}

// A change below a directory is one of the directory, which is said first.
Status Comparison::say(UpperChange change) {
  for (Level& level : levels_) {
    if (!level.said) {
      level.said = true;
      TRY(visit_({.kind = ChangeKind::kChanged, .path = "/" + level.path, .node = LayerEntryKind::kDirectory}));
    }
  }
  return visit_(change);
}

Status Comparison::say_deleted(const std::string& path, const Below& below) {
  return say({.kind = ChangeKind::kDeleted, .path = "/" + path, .node = node_kind(below.status), .size_bytes = size_of(below.status), .below = told_below(below)});
}

// What an opaque directory hides and does not have itself was deleted.
Status Comparison::say_hidden(int node, const Level& level) {
  const UniqueFd directory(::openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    return fail_errno("open '" + level.path + "'");
  }
  for (const std::string& name : TRY(below_.names(level.below, level.path_below, kMostNames))) {
    struct stat status;
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
      continue;
    }
    const Below below = TRY(below_.look(level.below, level.path_below, name.c_str()));
    if (below.exists) {
      TRY(say_deleted(level.path + "/" + name, below));
    }
  }
  return {};
}

// A directory that was renamed with redirect_dir is another one than the one of that name below: what it was is told, where details are.
Result<Below> Comparison::look_below(Node& node, std::string& moved_from) {
  const Level& level = levels_.back();
  // A file whose content was left below takes no room of its own.
  const bool may_be_metacopy = S_ISREG(node.status.st_mode) && node.status.st_blocks * 512 < node.status.st_size;
  const bool may_be_moved = S_ISDIR(node.status.st_mode) || (options_.details && may_be_metacopy);
  if (may_be_moved && TRY(node.open())) {
    const std::string redirect = node_attribute(node.fd.get(), "trusted.overlay.redirect");
    if (!redirect.empty()) {
      moved_from = redirect.front() == '/' ? redirect.substr(1) : joined(level.path_below, redirect.c_str());
      return options_.details ? below_.find(moved_from) : Below{};
    }
  }
  return below_.look(level.below, level.path_below, node.entry.name);
}

Result<NodeDifferences> Comparison::differences(Node& node, const Below& below) {
  NodeDifferences found;
  const bool is_clear = !options_.details && differs_at_a_glance(node.status, below.status);
  if (is_clear || (!options_.details && !S_ISREG(node.status.st_mode)) || !TRY(node.open())) {
    found.content = is_clear;
    return found;
  }
  const UniqueFd lower = TRY(below_.open_found(below, levels_.back().path_below, node.entry.name));
  if (options_.details) {
    return node_differences({node.fd.get(), node.status}, {lower.get(), below.status}, options_.cancelled);
  }
  found.attributes = node_attribute(node.fd.get(), "security.capability") != node_attribute(lower.get(), "security.capability");
  return found;
}

// Whether it is a change.
Result<bool> Comparison::tell(const Node& node, const Below& below, const NodeDifferences& differences, std::string moved_from) {
  const bool is_added = !below.exists || !moved_from.empty();
  if (!is_added && !differences.any()) {
    if (options_.details && !S_ISDIR(node.status.st_mode)) {
      TRY(visit_({.kind = ChangeKind::kCopiedUp, .path = "/" + node.entry.path, .node = node_kind(node.status), .size_bytes = size_of(node.status), .below = told_below(below)}));
    }
    return false;
  }
  TRY(say({.kind = is_added ? ChangeKind::kAdded : ChangeKind::kChanged,
           .path = "/" + node.entry.path,
           .node = node_kind(node.status),
           .size_bytes = size_of(node.status),
           .differences = differences,
           .below = told_below(below),
           .moved_from = moved_from.empty() ? "" : "/" + moved_from}));
  return true;
}

// Whether what is in it is to be looked at.
Result<bool> Comparison::compare(const TreeEntry& entry) {
  if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "compare 'layers'");
  }
  levels_.resize(entry.depth);
  Node node{.entry = entry, .status = {}, .fd = {}};
  if (!TRY(node.look())) {
    return false;
  }
  // An attribute makes a whiteout only of an empty file.
  const bool may_hide = S_ISCHR(node.status.st_mode) || (S_ISREG(node.status.st_mode) && node.status.st_size == 0);
  if (may_hide && !TRY(node.open())) {
    return false;
  }
  std::string moved_from;
  Below below = TRY(look_below(node, moved_from));
  if (may_hide && is_hiding(node.fd.get(), node.status)) {
    if (below.exists) {
      TRY(say_deleted(entry.path, below));
    }
    return false;
  }
  const bool is_compared = below.exists && moved_from.empty();
  const NodeDifferences found = is_compared ? TRY(differences(node, below)) : NodeDifferences{};
  std::string path_below = moved_from.empty() ? joined(levels_.back().path_below, entry.name) : moved_from;
  const bool is_change = TRY(tell(node, below, found, std::move(moved_from)));
  if (!S_ISDIR(node.status.st_mode)) {
    return true;
  }
  levels_.push_back({entry.path, std::move(path_below), std::move(below.directories), is_change});
  if (!levels_.back().below.empty() && TRY(node.open()) && is_opaque(node.fd.get())) {
    const Level level = levels_.back();
    TRY(say_hidden(node.fd.get(), level));
    // What is in it is compared all the same: a file that was made anew may be as it was.
  }
  return true;
}

Status Comparison::run() {
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> { return when == TreeVisit::kAfter || TRY(compare(entry)); };
  return walk_tree(upper_.get(), TreeOrder::kByName, visit, {.most_names = kMostNames, .changes = true});
}

}  // namespace

Status find_upper_changes(const std::string& upper, const std::vector<std::string>& lower, const ChangeVisitor& visit, const ChangeOptions& options) {
  Comparison comparison(visit, options);
  TRY(comparison.open(upper, lower));
  return comparison.run();
}

}  // namespace strata
