#include "layer_index_builder.h"

#include <fcntl.h>

#include <algorithm>

#include "thread.h"

namespace strata {

namespace {

// Directories that others change while they are read: a container runs on.
bool has_gone(const Error& error) { return error.errno_value == ENOENT || error.errno_value == ENOTDIR || error.errno_value == ELOOP; }

}  // namespace

Status IndexBuilder::open(const std::vector<std::string>& layers) {
  if (layers.size() > 1024) {
    return fail(E2BIG, "index 'layers'", "there are " + std::to_string(layers.size()) + " layers, and overlay takes 500");
  }
  index_.tops_.add(kNoId);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    UniqueFd root(::open(layers[layer].c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME));
    if (!root) {
      return fail_errno("open '" + layers[layer] + "'");
    }
    index_.roots_.push_back(std::move(root));
  }
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    IndexedEntry entry{};
    entry.kind = IndexedKind::kDirectory;
    entry.parent = kNoId;
    entry.layer = static_cast<uint16_t>(layer);
    waiting_.push_back(insert(0, entry));
  }
  return {};
}

// The entries of a path stay in the order of their layers.
uint32_t IndexBuilder::insert(uint32_t path, IndexedEntry entry) {
  entry.path = path;
  uint32_t above = kNoId;
  uint32_t below = index_.tops_[path];
  while (below != kNoId && index_.entries_[below].layer < entry.layer) {
    above = below;
    below = index_.entries_[below].below;
  }
  entry.below = below;
  const uint32_t id = index_.entries_.add(entry);
  if (above == kNoId) {
    index_.tops_[path] = id;
  } else {
    index_.entries_[above].below = id;
  }
  return id;
}

Status IndexBuilder::take(uint32_t directory, const ScannedNames& names) {
  const std::lock_guard lock(mutex_);
  if (failed_) {
    return fail(ECANCELED, "index 'layers'");
  }
  if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
    return fail(ECANCELED, "index 'layers'");
  }
  const uint32_t path = index_.entries_[directory].path;
  const uint16_t layer = index_.entries_[directory].layer;
  const uint16_t depth = index_.entries_[directory].depth;
  if (!names.entries.empty()) {
    index_.entries_[directory].flags |= kHasChildren;
  }
  LayerPaths& paths = index_.paths_;
  if (index_.entries_.size() + names.entries.size() > options_.max_entries + index_.roots_.size()) {
    return fail(E2BIG, "index 'layers'", "they have more than " + std::to_string(options_.max_entries) + " entries");
  }
  if (paths.texts().bytes() + names.texts.size() > options_.max_text_bytes) {
    return fail(E2BIG, "index 'layers'", "their names have more than " + std::to_string(options_.max_text_bytes >> 20) + " MiB");
  }
  if (depth == options_.max_depth && !names.entries.empty()) {
    return fail(E2BIG, "index 'layers'", "their directories are more than " + std::to_string(options_.max_depth) + " deep");
  }
  for (const ScannedEntry& scanned : names.entries) {
    IndexedEntry entry = scanned.entry;
    const std::string_view name(names.texts.data() + scanned.name, scanned.name_length);
    entry.parent = directory;
    entry.layer = layer;
    entry.depth = static_cast<uint16_t>(depth + 1);
    if (entry.kind == IndexedKind::kSymlink) {
      entry.mtime_ns = paths.texts().add({names.texts.data() + scanned.target, entry.size});
    }
    const uint32_t child = paths.add(path, name);
    if (child == index_.tops_.size()) {
      index_.tops_.add(kNoId);
    }
    const uint32_t id = insert(child, entry);
    if (entry.kind == IndexedKind::kDirectory) {
      waiting_.push_back(id);
    } else if (scanned.inode != 0) {
      links_.push_back({layer, scanned.inode, id});
    }
  }
  if (!waiting_.empty()) {
    changed_.notify_all();
  }
  return {};
}

Result<UniqueFd> IndexBuilder::open_by_path(uint32_t entry) {
  std::string path;
  int root = -1;
  {
    const std::lock_guard lock(mutex_);
    path = index_.paths_.text(index_.entries_[entry].path);
    root = index_.roots_[index_.entries_[entry].layer].get();
  }
  return open_below(root, path, O_RDONLY | O_DIRECTORY);
}

// By its name in a directory that is still open, where that is so: what is deep costs no more than what is not.
Result<UniqueFd> IndexBuilder::open_directory(uint32_t entry, std::vector<Held>& way) {
  constexpr size_t kMostHeld = 64;
  uint32_t parent = kNoId;
  std::string name;
  {
    const std::lock_guard lock(mutex_);
    parent = index_.entries_[entry].parent;
    name = index_.paths_.name(index_.entries_[entry].path);
  }
  while (!way.empty() && way.back().entry != parent) {
    way.pop_back();
  }
  if (parent == kNoId) {
    return open_by_path(entry);
  }
  if (way.empty()) {
    way.push_back({parent, TRY(open_by_path(parent))});
  } else if (way.size() == kMostHeld) {
    way.erase(way.begin());
  }
  return open_below(way.back().directory.get(), name, O_RDONLY | O_DIRECTORY);
}

Status IndexBuilder::scan(uint32_t entry, Scratch& scratch) {
  auto directory = open_directory(entry, scratch.way);
  if (!directory) {
    // EXDEV: another file system is mounted there, which is none of the layer's.
    return has_gone(directory.error()) || directory.error().errno_value == EXDEV ? Status{} : std::unexpected(directory.error());
  }
  if (const uint8_t marks = directory_marks(directory->get()); marks != 0) {
    const std::lock_guard lock(mutex_);
    index_.entries_[entry].flags |= marks;
  }
  auto scanned = scan_directory(directory->get(), scratch.buffer, scratch.names, [&](const ScannedNames& names) { return take(entry, names); });
  if (!scanned && scanned.error().errno_value != ECANCELED && scanned.error().errno_value != E2BIG) {
    const std::lock_guard lock(mutex_);
    return std::unexpected(std::move(scanned).error().within("index '/" + index_.paths_.text(index_.entries_[entry].path) + "'"));
  }
  scratch.way.push_back({entry, std::move(*directory)});
  return scanned;
}

void IndexBuilder::work() {
  Scratch scratch;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return failed_ || !waiting_.empty() || busy_ == 0; });
    if (failed_ || waiting_.empty()) {
      changed_.notify_all();
      return;
    }
    const uint32_t entry = waiting_.back();
    waiting_.pop_back();
    ++busy_;
    lock.unlock();
    auto scanned = scan(entry, scratch);
    lock.lock();
    --busy_;
    if (!scanned && !failed_) {
      failed_ = std::move(scanned).error();
    }
    if (failed_ || busy_ == 0) {
      changed_.notify_all();
    }
  }
}

// The bytes of a file with several names are counted for the first of them by path, whatever order a directory has: the same answer on every disk.
void IndexBuilder::settle_links() {
  const auto before = [](const Link& left, const Link& right) { return left.layer != right.layer ? left.layer < right.layer : left.inode < right.inode; };
  std::sort(links_.begin(), links_.end(), before);
  for (size_t from = 0; from < links_.size();) {
    size_t to = from + 1;
    size_t first = from;
    std::string first_text = index_.paths_.text(index_.entries_[links_[from].entry].path);
    for (; to < links_.size() && !before(links_[from], links_[to]); ++to) {
      std::string text = index_.paths_.text(index_.entries_[links_[to].entry].path);
      if (text < first_text) {
        first = to;
        first_text = std::move(text);
      }
    }
    for (size_t at = from; at < to; ++at) {
      index_.entries_[links_[at].entry].flags |= at == first ? 0 : kOtherName;
    }
    std::swap(links_[from], links_[first]);
    from = to;
  }
}

void IndexBuilder::settle_winners() {
  Chunked<IndexedEntry>& entries = index_.entries_;
  for (uint32_t path = 0; path < index_.paths_.size(); ++path) {
    bool is_first = true;
    for (uint32_t id = index_.tops_[path]; id != kNoId; id = entries[id].below) {
      IndexedEntry& entry = entries[id];
      if (entry.parent != kNoId && !entries[entry.parent].has(kSeen)) {
        continue;  // what its directory would be seen as is hidden
      }
      if (entry.kind == IndexedKind::kDirectory) {
        entry.flags |= kSeen;
        if (entry.has(kOpaque) || entry.has(kRedirected)) {
          break;
        }
      } else {
        if (is_first && entry.kind != IndexedKind::kWhiteout) {
          entry.flags |= kSeen | kBytesSeen;
          // The data of a metacopy is the next file below.
          for (uint32_t data = id; entries[data].has(kMetacopy) && entries[data].below != kNoId;) {
            data = entries[data].below;
            if (entries[data].kind != IndexedKind::kFile || !entries[entries[data].parent].has(kSeen)) {
              break;
            }
            entries[data].flags |= kBytesSeen;
          }
        }
        break;
      }
      is_first = false;
    }
  }
  for (size_t from = 0; from < links_.size();) {
    size_t to = from;
    bool is_seen = false;
    for (; to < links_.size() && links_[to].layer == links_[from].layer && links_[to].inode == links_[from].inode; ++to) {
      is_seen = is_seen || entries[links_[to].entry].has(kBytesSeen);
    }
    entries[links_[from].entry].flags |= is_seen ? kBytesSeen : 0;
    from = to;
  }
}

void IndexBuilder::sum_up() {
  std::vector<LayerTotals>& totals = index_.totals_;
  totals.resize(index_.roots_.size());
  for (uint32_t id = 0; id < index_.entries_.size(); ++id) {
    const IndexedEntry& entry = index_.entries_[id];
    LayerTotals& layer = totals[entry.layer];
    layer.entries += entry.parent == kNoId ? 0 : 1;
    layer.whiteouts += entry.kind == IndexedKind::kWhiteout ? 1 : 0;
    layer.opaque += entry.has(kOpaque) ? 1 : 0;
    layer.redirects += entry.has(kRedirected) ? 1 : 0;
    layer.metacopies += entry.has(kMetacopy) ? 1 : 0;
    layer.stored_bytes += entry.stored();
    layer.seen_bytes += entry.has(kBytesSeen) ? entry.stored() : 0;
  }
  uint64_t sum = 0;
  for (size_t layer = totals.size(); layer-- > 0;) {
    sum += totals[layer].stored_bytes;
    totals[layer].cumulative_bytes = sum;
  }
}

Status IndexBuilder::run(const std::vector<std::string>& layers) {
  TRY(open(layers));
  std::vector<Thread> others;
  for (unsigned count = 1; count < options_.threads; ++count) {
    auto thread = Thread::start([this] { work(); });
    if (!thread) {
      break;  // fewer do it as well
    }
    others.push_back(std::move(*thread));
  }
  work();
  for (Thread& thread : others) {
    thread.join();
  }
  if (failed_) {
    return std::unexpected(*failed_);
  }
  settle_links();
  settle_winners();
  sum_up();
  return {};
}

}  // namespace strata
