#include "merged_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "overlay_marks.h"
#include "sys.h"

namespace strata {

namespace {

constexpr std::uint64_t kInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
constexpr int kMostLinks = 40;  // the kernel's own bound
// How often a layer may be asked for a name: for one path, and for all links of a directory. A path of 4096 bytes has some 2000 names; with links that lead up and down
// again it could be millions, each of them in hundreds of layers.
constexpr size_t kMostAsked = 200'000;
constexpr size_t kMostAskedOfLinks = 1'000'000;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::deque<std::string> names_of(std::string_view path) {
  std::deque<std::string> names;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (const std::string_view name = path.substr(0, end); !name.empty() && name != ".") {
      names.emplace_back(name);
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return names;
}

bool is_name(std::string_view text) { return !text.empty() && text != "." && text != ".." && text.find('/') == std::string_view::npos; }

// The names in a directory, and the first part that has each. Of more than `limit` the first ones are kept.
class Names {
 public:
  explicit Names(size_t limit) : limit_(limit) {}

  [[nodiscard]] Status read(int node, size_t part, const std::string& path) {
    const int fd = ::openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      return fail_errno("open '" + path + "'");
    }
    const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(fd));
    if (stream == nullptr) {
      ::close(fd);
      return fail_errno("read '" + path + "'");
    }
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") {
        add(name, part);
      }
      errno = 0;
    }
    return errno != 0 ? Status(fail_errno("read '" + path + "'")) : Status();
  }

  [[nodiscard]] const std::map<std::string, size_t, std::less<>>& first() const { return names_; }
  [[nodiscard]] bool is_cut() const { return cut_; }

 private:
  void add(std::string_view name, size_t part) {
    if (cut_ && name > names_.rbegin()->first) {
      return;
    }
    names_.try_emplace(std::string(name), part);
    if (names_.size() > 2 * limit_ + 1024) {
      names_.erase(std::next(names_.begin(), static_cast<std::ptrdiff_t>(limit_) + 1), names_.end());
      cut_ = true;
    }
  }

  size_t limit_;
  std::map<std::string, size_t, std::less<>> names_;
  bool cut_ = false;
};

}  // namespace

Result<MergedView> MergedView::open(const std::vector<std::string>& layers) {
  MergedView view;
  for (const std::string& layer : layers) {
    UniqueFd root = TRY(real_sys().open_at(AT_FDCWD, layer, O_PATH | O_DIRECTORY, 0, 0));
    view.root_.push_back({view.root_.size(), std::make_shared<const UniqueFd>(std::move(root))});
  }
  if (view.root_.empty()) {
    return fail(EINVAL, "open 'layers'", "an overlay has one layer at least");
  }
  return view;
}

// A directory that was renamed says under which name the layers below have it; a file, where its content is.
Status MergedView::follow_redirect(int node, size_t at, size_t end, Search& search) {
  const std::string redirect = node_attribute(node, "trusted.overlay.redirect");
  if (redirect.empty()) {
    return {};
  }
  if (redirect.front() != '/') {
    if (!is_name(redirect)) {
      return fail(EIO, "look up '" + search.name + "'", "its redirect is not a name");
    }
    search.name.replace(at, end - at, redirect);
    return {};
  }
  for (size_t from = 1; from <= redirect.size();) {
    const size_t to = std::min(redirect.find('/', from), redirect.size());
    if (!is_name(std::string_view(redirect).substr(from, to - from))) {
      return fail(EIO, "look up '" + search.name + "'", "its redirect is not a path");
    }
    from = to + 1;
  }
  search.name = redirect + search.name.substr(end);
  search.ends = false;  // whatever hid what is below the old name does not hide this
  return {};
}

Result<MergedView::Looked> MergedView::look_in(int base, Search& search) {
  UniqueFd current;
  // From the end, since a redirect replaces what lies before.
  for (size_t rest = search.name.size() - (search.name.starts_with('/') ? 1 : 0);;) {
    const size_t at = search.name.size() - rest;
    const size_t end = std::min(search.name.find('/', at), search.name.size());
    const bool is_last = end == search.name.size();
    auto node = real_sys().open_at(current ? current.get() : base, search.name.substr(at, end - at), O_PATH | O_NOFOLLOW, 0, kInside);
    if (!node) {
      return node.error().errno_value == ENOENT ? Result<Looked>(Looked{}) : std::unexpected(std::move(node).error());
    }
    struct stat status;
    if (::fstat(node->get(), &status) != 0) {
      return fail_errno("stat '" + search.name + "'");
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (is_hiding(node->get(), status) || (!is_directory && (search.is_directory || !is_last))) {
      search.ends = true;
      return Looked{};
    }
    bool is_whole = false;  // the layers below add nothing to it
    if (is_directory) {
      is_whole = is_opaque(node->get());
      search.ends = search.ends || is_whole;
    } else {
      search.is_metacopy = S_ISREG(status.st_mode) && has_node_attribute(node->get(), "trusted.overlay.metacopy");
      is_whole = search.ends = !search.is_metacopy;
    }
    if (!is_whole) {
      TRY(follow_redirect(node->get(), at, end, search));
    }
    if (is_last) {
      return Looked{std::move(*node), status};
    }
    rest -= end - at + 1;
    current = std::move(*node);
  }
}

Result<MergedView::Found> MergedView::look(const Directory& directory, const std::string& name) const {
  if (name.size() > 255) {
    return fail(ENAMETOOLONG, "look up '" + name.substr(0, 32) + "…'");
  }
  Found found;
  Search search{.name = name};
  auto part = directory.begin();
  for (const Part& root : root_) {
    while (part != directory.end() && part->layer < root.layer) {
      ++part;
    }
    const bool from_roots = search.name.starts_with('/');
    if (!from_roots && (part == directory.end() || part->layer != root.layer)) {
      continue;
    }
    Looked looked = TRY(look_in((from_roots ? root : *part).node->get(), search));
    if (looked.node) {
      auto node = std::make_shared<const UniqueFd>(std::move(looked.node));
      const bool is_directory = S_ISDIR(looked.status.st_mode);
      if (found.node == nullptr) {
        found.node = node;
        found.status = looked.status;
        search.is_directory = is_directory;
      } else if (!is_directory && !S_ISREG(looked.status.st_mode)) {
        return fail(EIO, "look up '" + name + "'", "its content is not a file");
      } else if (!is_directory) {
        found.content = node;
      } else if (!search.is_directory) {
        return fail(EIO, "look up '" + name + "'", "its content is a directory");
      }
      if (is_directory) {
        found.parts.push_back({root.layer, std::move(node)});
      }
    }
    if (search.ends) {
      break;
    }
  }
  if (found.node == nullptr) {
    return fail(ENOENT, "look up '" + name + "'");
  }
  found.lacks_content = search.is_metacopy;
  found.name = name;
  return found;
}

Result<MergedView::Found> MergedView::found_directory(Place place) const {
  Found found;
  found.node = place.directory.front().node;
  if (::fstat(found.node->get(), &found.status) != 0) {
    return fail_errno("stat '/'");
  }
  found.parts = std::move(place.directory);
  found.name = place.names.empty() ? "/" : place.names.back();
  return found;
}

Status MergedView::spend(size_t& budget, const Directory& directory, const std::string& name) {
  if (budget < directory.size()) {
    return fail(ELOOP, "look up '" + name + "'");
  }
  budget -= directory.size();
  return {};
}

// Names of directories, none of which is a link.
Result<MergedView::Directory> MergedView::enter(const std::vector<std::string>& names, size_t& budget) const {
  Directory directory = root_;
  for (const std::string& name : names) {
    TRY(spend(budget, directory, name));
    Found found = TRY(look(directory, name));
    directory = std::move(found.parts);
  }
  return directory;
}

Result<MergedView::Found> MergedView::walk(Place place, std::deque<std::string> names, bool follows, size_t& budget, Place* end) const {
  int links = 0;
  while (!names.empty()) {
    const std::string name = std::move(names.front());
    names.pop_front();
    if (name == "..") {
      if (!place.names.empty()) {
        place.names.pop_back();
        place.directory = TRY(enter(place.names, budget));
      }
      continue;
    }
    TRY(spend(budget, place.directory, name));
    Found found = TRY(look(place.directory, name));
    if (S_ISLNK(found.status.st_mode) && (follows || !names.empty())) {
      if (++links > kMostLinks) {
        return fail(ELOOP, "look up '" + name + "'");
      }
      const std::string target = read_link(found.node->get());
      if (target.starts_with('/')) {
        place = {{}, root_};
      }
      std::deque<std::string> onward = names_of(target);
      names.insert(names.begin(), onward.begin(), onward.end());
      continue;
    }
    if (!S_ISDIR(found.status.st_mode)) {
      return names.empty() ? Result<Found>(std::move(found)) : fail(ENOTDIR, "look up '" + names.front() + "'");
    }
    place.names.push_back(name);
    place.directory = std::move(found.parts);
  }
  if (end != nullptr) {
    *end = place;
  }
  return found_directory(std::move(place));
}

Result<MergedView::Found> MergedView::resolve(const std::string& path, bool follows, Place* end) const {
  size_t budget = kMostAsked;
  auto found = walk({{}, root_}, names_of(path), follows, budget, end);
  if (!found) {
    return std::unexpected(std::move(found).error().within("open '" + path + "'"));
  }
  return found;
}

Result<LayerListing> MergedView::list(const std::string& path, size_t limit, size_t most_bytes) const {
  Place place;
  const Found directory = TRY(resolve(path, true, &place));
  if (!S_ISDIR(directory.status.st_mode)) {
    return fail(ENOTDIR, "open '" + path + "'");
  }
  Names names(limit);
  for (size_t part = 0; part < directory.parts.size(); ++part) {
    TRY(names.read(directory.parts[part].node->get(), part, path));
  }
  LayerListing listing;
  listing.truncated = names.is_cut();
  size_t bytes = 0;
  size_t budget = kMostAskedOfLinks;
  for (const auto& [name, part] : names.first()) {
    // What the uppermost part that has a name says of it is what is shown.
    const auto node = real_sys().open_at(directory.parts[part].node->get(), name, O_PATH | O_NOFOLLOW, 0, kInside);
    struct stat status;
    if (!node || ::fstat(node->get(), &status) != 0 || is_hiding(node->get(), status)) {
      continue;
    }
    LayerEntry entry = describe_node(node->get(), status, name);
    if (S_ISLNK(status.st_mode)) {
      if (const auto led = walk(place, names_of(name), true, budget)) {
        entry.link_kind = node_kind(led->status);
      }
    }
    bytes += json_bytes(entry);
    if (listing.entries.size() >= limit || bytes > most_bytes) {
      listing.truncated = true;
      break;
    }
    listing.entries.push_back(std::move(entry));
  }
  return listing;
}

Result<LayerEntry> MergedView::stat(const std::string& path, bool follows) const {
  const Found found = TRY(resolve(path, follows));
  LayerEntry entry = describe_node(found.node->get(), found.status, found.name);
  if (S_ISLNK(found.status.st_mode)) {
    if (const auto led = resolve(path, true)) {
      entry.link_kind = node_kind(led->status);
    }
  }
  return entry;
}

Result<UniqueFd> MergedView::open_file(const std::string& path) const {
  const Found found = TRY(resolve(path, true));
  if (found.lacks_content) {
    return fail(EIO, "open '" + path + "'", "overlay copied it up without its content, which no layer below has");
  }
  return open_regular_file((found.content != nullptr ? found.content : found.node)->get(), path);
}

}  // namespace strata
