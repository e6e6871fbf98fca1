#include "layer_index.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>

#include "layer_scan.h"
#include "thread.h"

namespace strata {

namespace {

// A name of a file that has several.
struct Link {
  uint16_t layer;
  uint64_t inode;
  uint32_t entry;
};

// Directories that others change while they are read: a container runs on.
bool has_gone(const Error& error) { return error.errno_value == ENOENT || error.errno_value == ENOTDIR || error.errno_value == ELOOP; }

}  // namespace

// Invariants: the index and all below the mutex are touched under it alone, once for each batch of a directory; what takes time, the system calls, is done
// outside. The first error, or a cancellation, ends every thread at its next batch.
class IndexBuilder {
 public:
  IndexBuilder(LayerIndex& index, const IndexOptions& options) : index_(index), options_(options) {}

  Status run(const std::vector<std::string>& layers);

 private:
  struct Scratch {
    std::vector<char> buffer;
    ScannedNames names;
  };

  Status open(const std::vector<std::string>& layers);
  void work();
  Status scan(uint32_t entry, Scratch& scratch);
  Status take(uint32_t directory, const ScannedNames& names);
  uint32_t insert(uint32_t path, IndexedEntry entry);
  void settle_links();
  void settle_winners();
  void sum_up();

  LayerIndex& index_;
  const IndexOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> waiting_;  // entries of directories that nobody has read yet
  size_t busy_ = 0;                // threads that read one
  std::optional<Error> failed_;
  std::vector<Link> links_;
};

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
  for (const ScannedEntry& scanned : names.entries) {
    IndexedEntry entry = scanned.entry;
    const std::string_view name(names.texts.data() + scanned.name, scanned.name_length);
    entry.parent = directory;
    entry.layer = layer;
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

Status IndexBuilder::scan(uint32_t entry, Scratch& scratch) {
  std::string path;
  int root = -1;
  {
    const std::lock_guard lock(mutex_);
    path = index_.paths_.text(index_.entries_[entry].path);
    root = index_.roots_[index_.entries_[entry].layer].get();
  }
  const auto directory = open_below(root, path, O_RDONLY | O_DIRECTORY);
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
    return std::unexpected(std::move(scanned).error().within("index '/" + path + "'"));
  }
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

Result<LayerIndex> LayerIndex::build(const std::vector<std::string>& layers, const IndexOptions& options) {
  LayerIndex index;
  TRY(IndexBuilder(index, options).run(layers));
  return index;
}

std::string_view LayerIndex::link_target(const IndexedEntry& entry) const {
  return entry.kind == IndexedKind::kSymlink ? paths_.texts().at(static_cast<uint32_t>(entry.mtime_ns), entry.size) : std::string_view{};
}

uint32_t LayerIndex::winner(uint32_t path) const {
  for (uint32_t id = tops_[path]; id != kNoId; id = entries_[id].below) {
    if (entries_[id].has(kSeen)) {
      return id;
    }
  }
  return kNoId;
}

Result<UniqueFd> LayerIndex::open_file(uint32_t id) const {
  const IndexedEntry& wanted = entries_[id];
  return open_below(roots_[wanted.layer].get(), paths_.text(wanted.path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

Result<bool> LayerIndex::is_copy_of_below(uint32_t id) const {
  const IndexedEntry& above = entries_[id];
  if (above.kind != IndexedKind::kFile || above.below == kNoId || above.has(kMetacopy)) {
    return false;
  }
  const IndexedEntry& below = entries_[above.below];
  if (below.kind != IndexedKind::kFile || below.has(kMetacopy) || below.size != above.size) {
    return false;
  }
  const UniqueFd files[2] = {TRY(open_file(id)), TRY(open_file(above.below))};
  std::vector<char> pieces[2] = {std::vector<char>(size_t{128} << 10), std::vector<char>(size_t{128} << 10)};
  for (uint64_t at = 0; at < above.size;) {
    ssize_t got[2];
    for (int side = 0; side < 2; ++side) {
      got[side] = ::pread(files[side].get(), pieces[side].data(), pieces[side].size(), static_cast<off_t>(at));
      if (got[side] < 0) {
        return fail_errno("read '/" + paths_.text(above.path) + "'");
      }
    }
    const auto both = static_cast<size_t>(std::min(got[0], got[1]));
    // Shorter than it was: somebody writes to it.
    if (both == 0 || std::memcmp(pieces[0].data(), pieces[1].data(), both) != 0) {
      return false;
    }
    at += both;
  }
  return true;
}

std::vector<uint32_t> LayerIndex::merged(uint32_t path, const std::vector<uint32_t>& parents, uint16_t first_layer) const {
  std::vector<uint32_t> found;
  for (uint32_t id = tops_[path]; id != kNoId; id = entries_[id].below) {
    const IndexedEntry& entry = entries_[id];
    if (entry.layer < first_layer || (path != 0 && std::find(parents.begin(), parents.end(), entry.parent) == parents.end())) {
      continue;
    }
    if (entry.kind != IndexedKind::kDirectory) {
      if (found.empty() && entry.kind != IndexedKind::kWhiteout) {
        found.push_back(id);
      }
      break;
    }
    found.push_back(id);
    if (entry.has(kOpaque) || entry.has(kRedirected)) {
      break;
    }
  }
  return found;
}

size_t LayerIndex::memory_bytes() const { return paths_.bytes() + entries_.bytes() + tops_.bytes(); }

}  // namespace strata
