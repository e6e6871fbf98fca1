#include "layer_query.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace strata {

namespace {

// Names of a path from its end, for comparing without building texts.
struct PathPattern {
  std::vector<std::string_view> names;  // last first
  bool is_whole = false;

  explicit PathPattern(std::string_view text) : is_whole(text.starts_with('/')) {
    for (text.remove_prefix(is_whole ? 1 : 0); !text.empty();) {
      const size_t slash = text.rfind('/');
      names.push_back(text.substr(slash == std::string_view::npos ? 0 : slash + 1));
      text = slash == std::string_view::npos ? std::string_view{} : text.substr(0, slash);
    }
  }

  [[nodiscard]] bool matches(const LayerPaths& paths, uint32_t path) const {
    for (const std::string_view name : names) {
      if (path == 0 || paths.name(path) != name) {
        return false;
      }
      path = paths.parent(path);
    }
    return !is_whole || path == 0;
  }
};

// Where a symbolic link of what the stack shows leads to.
class LinkWalk {
 public:
  explicit LinkWalk(const LayerIndex& index) : index_(index) {}

  [[nodiscard]] bool is_broken(const IndexedEntry& link) {
    left_ = 40;  // as the kernel has it
    at_ = index_.paths().parent(link.path);
    return !follow(index_.link_target(link));
  }

 private:
  // What a container mounts there is in no layer.
  [[nodiscard]] bool is_mounted(uint32_t parent, std::string_view name) const {
    constexpr std::array<std::string_view, 5> kMounted{"proc", "sys", "dev", "run", "tmp"};
    return parent == 0 && std::find(kMounted.begin(), kMounted.end(), name) != kMounted.end();
  }

  // Leaves at_ where the target is; false: nowhere. Links in links are put in front of what is left, so no recursion.
  bool follow(std::string_view target) {
    std::string rest(target);
    at_ = rest.starts_with('/') ? 0 : at_;
    while (!rest.empty()) {
      const size_t slash = rest.find('/');
      const std::string name = rest.substr(0, slash);
      rest.erase(0, slash == std::string::npos ? rest.size() : slash + 1);
      if (name.empty() || name == ".") {
        continue;
      }
      if (name == "..") {
        at_ = at_ == 0 ? 0 : index_.paths().parent(at_);
        continue;
      }
      if (is_mounted(at_, name)) {
        return true;
      }
      const uint32_t next = index_.paths().find(at_, name);
      const uint32_t winner = next == kNoId ? kNoId : index_.winner(next);
      if (winner == kNoId) {
        return false;
      }
      const IndexedEntry& entry = index_.entry(winner);
      if (entry.kind != IndexedKind::kSymlink) {
        if (entry.kind != IndexedKind::kDirectory && !rest.empty()) {
          return false;
        }
        at_ = next;
        continue;
      }
      if (--left_ == 0) {
        return false;
      }
      rest = std::string(index_.link_target(entry)) + (rest.empty() ? "" : "/" + rest);
      at_ = rest.starts_with('/') ? 0 : at_;
    }
    return true;
  }

  const LayerIndex& index_;
  uint32_t at_ = 0;
  int left_ = 0;
};

class Selection {
 public:
  Selection(const LayerIndex& index, const EntryQuery& query, size_t most) : index_(index), query_(query), most_(most) {
    patterns_.reserve(query.paths.size());
    for (const std::string& path : query.paths) {
      patterns_.emplace_back(path);
    }
    if (query.is_below) {
      below_.resize(index.entry_count(), kNoId);
    }
  }

  void look(uint32_t id) {
    const IndexedEntry& entry = index_.entry(id);
    if (query_.is_below) {
      look_below(id, entry);
    } else if (is_match(id, entry)) {
      add({id, entry.stored(), 1});
    }
  }

  QueryResult result() {
    for (const EntryMatch& root : roots_) {
      if (root.bytes > 0) {
        add(root);
      }
    }
    keep(most_);
    std::sort(result_.matches.begin(), result_.matches.end(), [&](const EntryMatch& left, const EntryMatch& right) { return is_before(left, right); });
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool is_named(uint32_t path) const {
    const std::string_view name = index_.paths().name(path);
    return (query_.paths.empty() && query_.suffixes.empty()) || std::any_of(query_.suffixes.begin(), query_.suffixes.end(), [&](const std::string& suffix) { return name.ends_with(suffix); }) ||
           std::any_of(patterns_.begin(), patterns_.end(), [&](const PathPattern& pattern) { return pattern.matches(index_.paths(), path); });
  }

  // Of a merged directory the topmost is seen: the others lend it their children, but not their mode.
  [[nodiscard]] bool is_in_state(uint32_t id, const IndexedEntry& entry) const {
    switch (query_.state) {
      case EntryState::kAny:
        return true;
      case EntryState::kSeen:
        return entry.has(kSeen) && index_.winner(entry.path) == id;
      case EntryState::kHidden:
        return !entry.has(kSeen) && !entry.has(kBytesSeen);
    }
    return false;
  }

  [[nodiscard]] bool is_related(const IndexedEntry& entry) {
    if (query_.relation == EntryRelation::kUnrelated) {
      return true;
    }
    if (query_.relation == EntryRelation::kBrokenLink) {
      return entry.kind == IndexedKind::kSymlink && entry.has(kSeen) && links_.is_broken(entry);
    }
    if (entry.kind != IndexedKind::kFile || entry.below == kNoId) {
      return false;
    }
    const IndexedEntry& below = index_.entry(entry.below);
    const bool is_alike = below.kind == IndexedKind::kFile && below.size == entry.size && below.mtime_ns == entry.mtime_ns;
    const bool has_same_metadata = below.mode == entry.mode && below.uid == entry.uid && below.gid == entry.gid;
    return is_alike && has_same_metadata == (query_.relation == EntryRelation::kIdenticalCopy);
  }

  [[nodiscard]] bool is_match(uint32_t id, const IndexedEntry& entry) {
    return entry.kind != IndexedKind::kWhiteout && entry.parent != kNoId && (query_.kinds == 0 || (query_.kinds >> static_cast<unsigned>(entry.kind) & 1U) != 0) &&
           (query_.mode_any == 0 || (entry.mode & query_.mode_any) != 0) && (entry.mode & query_.mode_none) == 0 && entry.stored() >= query_.least_bytes &&
           is_in_state(id, entry) && is_named(entry.path) && is_related(entry);
  }

  // A directory comes before what is in it.
  void look_below(uint32_t id, const IndexedEntry& entry) {
    if (entry.parent == kNoId) {
      return;
    }
    uint32_t root = below_[entry.parent];
    if (root == kNoId && entry.kind == IndexedKind::kDirectory && is_named(entry.path)) {
      root = static_cast<uint32_t>(roots_.size());
      roots_.push_back({id, 0, 0});
    }
    below_[id] = root;
    if (root != kNoId && entry.kind == IndexedKind::kFile && is_in_state(id, entry)) {
      roots_[root].bytes += entry.stored();
      ++roots_[root].files;
    }
  }

  void add(const EntryMatch& match) {
    if (match.bytes < query_.least_bytes) {
      return;
    }
    ++result_.count;
    result_.bytes += match.bytes;
    result_.matches.push_back(match);
    if (result_.matches.size() >= 2 * most_ + 1024) {
      keep(most_);
    }
  }

  void keep(size_t count) {
    std::vector<EntryMatch>& matches = result_.matches;
    if (matches.size() > count) {
      std::nth_element(matches.begin(), matches.begin() + static_cast<ptrdiff_t>(count), matches.end(), [&](const EntryMatch& left, const EntryMatch& right) { return is_before(left, right); });
      matches.resize(count);
    }
  }

  [[nodiscard]] bool is_before(const EntryMatch& left, const EntryMatch& right) const {
    if (left.bytes != right.bytes) {
      return left.bytes > right.bytes;
    }
    const IndexedEntry& one = index_.entry(left.entry);
    const IndexedEntry& other = index_.entry(right.entry);
    if (one.path == other.path) {
      return one.layer < other.layer;
    }
    return index_.paths().text(one.path) < index_.paths().text(other.path);
  }

  const LayerIndex& index_;
  const EntryQuery& query_;
  const size_t most_;
  std::vector<PathPattern> patterns_;
  LinkWalk links_{index_};
  std::vector<uint32_t> below_;   // of each entry the root that it is below
  std::vector<EntryMatch> roots_;
  QueryResult result_;
};

}  // namespace

std::vector<QueryResult> select_entries(const LayerIndex& index, const std::vector<EntryQuery>& queries, size_t most_matches) {
  std::vector<Selection> selections;
  selections.reserve(queries.size());
  for (const EntryQuery& query : queries) {
    selections.emplace_back(index, query, most_matches);
  }
  for (uint32_t id = 0; id < index.entry_count(); ++id) {
    for (Selection& selection : selections) {
      selection.look(id);
    }
  }
  std::vector<QueryResult> results;
  for (Selection& selection : selections) {
    results.push_back(selection.result());
  }
  return results;
}

std::optional<Hiding> hidden_by(const LayerIndex& index, uint32_t id) {
  const IndexedEntry& hidden = index.entry(id);
  std::optional<Hiding> nearest;
  bool is_own = true;
  for (uint32_t path = hidden.path; path != 0; path = index.paths().parent(path)) {
    for (uint32_t at = index.top_entry(path); at != kNoId && index.entry(at).layer < hidden.layer; at = index.entry(at).below) {
      const IndexedEntry& above = index.entry(at);
      const bool is_hiding = above.kind != IndexedKind::kDirectory || (is_own && hidden.kind != IndexedKind::kDirectory) || above.has(kOpaque) || above.has(kRedirected);
      if (is_hiding && (!nearest || above.layer > nearest->layer)) {
        // The same name again is a replacement; of what lay in a directory that was replaced nothing is left.
        nearest = Hiding{above.layer, !is_own || above.kind == IndexedKind::kWhiteout};
      }
    }
    is_own = false;
  }
  return nearest;
}

}  // namespace strata
