#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "core/layer_efficiency.h"
#include "core/layer_index.h"
#include "core/layer_query.h"
#include "core/layer_scan.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

// Directories as overlay has them; "top" is the highest.
class Stack {
 public:
  Stack() {
    for (const char* name : {"top", "middle", "low"}) {
      REQUIRE(::mkdir((place_ / name).c_str(), 0755) == 0);
    }
  }
  void directory(const std::string& path, bool opaque = false) {
    REQUIRE(::mkdir((place_ / path).c_str(), 0755) == 0);
    if (opaque) {
      attribute(path, "trusted.overlay.opaque", "y");
    }
  }
  void file(const std::string& path, size_t bytes) {
    std::ofstream(place_ / path) << std::string(bytes, 'x');
    constexpr timespec kTime[2] = {{1'700'000'000, 5}, {1'700'000'000, 5}};
    REQUIRE(::utimensat(AT_FDCWD, (place_ / path).c_str(), kTime, 0) == 0);
  }
  void symlink(const std::string& target, const std::string& path) { REQUIRE(::symlink(target.c_str(), (place_ / path).c_str()) == 0); }
  void link(const std::string& from, const std::string& to) { REQUIRE(::link((place_ / from).c_str(), (place_ / to).c_str()) == 0); }
  void mode(const std::string& path, mode_t mode) { REQUIRE(::chmod((place_ / path).c_str(), mode) == 0); }
  void whiteout(const std::string& path) { REQUIRE(::mknod((place_ / path).c_str(), S_IFCHR, makedev(0, 0)) == 0); }
  void attribute(const std::string& path, const char* name, const std::string& value) {
    REQUIRE(::setxattr((place_ / path).c_str(), name, value.data(), value.size(), 0) == 0);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return place_ / name; }
  [[nodiscard]] std::vector<std::string> layers() const { return {path("top"), path("middle"), path("low")}; }

  [[nodiscard]] LayerIndex index(const IndexOptions& options = {}) const {
    auto built = LayerIndex::build(layers(), options);
    REQUIRE_MESSAGE(built, built.error().message());
    return std::move(*built);
  }

 private:
  TempDirectory place_;
};

uint32_t path_of(const LayerIndex& index, std::string_view text) {
  uint32_t path = 0;
  while (!text.empty()) {
    const size_t slash = text.find('/');
    path = index.paths().find(path, text.substr(0, slash));
    REQUIRE(path != kNoId);
    text.remove_prefix(slash == std::string_view::npos ? text.size() : slash + 1);
  }
  return path;
}

// The layer that wins, -1: nothing is to be seen there.
int winner(const LayerIndex& index, std::string_view text) {
  const uint32_t entry = index.winner(path_of(index, text));
  return entry == kNoId ? -1 : index.entry(entry).layer;
}

std::vector<std::string> matches(const LayerIndex& index, const EntryQuery& query) {
  std::vector<std::string> lines;
  const std::vector<QueryResult> results = select_entries(index, {query}, 100);
  for (const EntryMatch& match : results.front().matches) {
    const IndexedEntry& entry = index.entry(match.entry);
    lines.push_back(std::to_string(entry.layer) + " " + index.paths().text(entry.path) + " " + std::to_string(match.bytes));
  }
  return lines;
}

using Lines = std::vector<std::string>;
constexpr unsigned kFiles = 1U << static_cast<unsigned>(IndexedKind::kFile);
constexpr unsigned kDirectories = 1U << static_cast<unsigned>(IndexedKind::kDirectory);

}  // namespace

TEST_CASE("the index tells who wins, and what each layer's bytes are still good for") {
  Stack stack;
  stack.directory("low/d");
  stack.file("low/d/kept", 10);
  stack.file("low/d/replaced", 20);
  stack.file("low/d/deleted", 40);
  stack.directory("middle/d");
  stack.file("middle/d/replaced", 21);
  stack.file("middle/d/own", 80);
  stack.directory("top/d");
  stack.whiteout("top/d/deleted");
  // In the other form that overlay knows.
  stack.file("top/d/own", 0);
  stack.attribute("top/d/own", "trusted.overlay.whiteout", "");

  const LayerIndex index = stack.index();
  CHECK(winner(index, "d/kept") == 2);
  CHECK(winner(index, "d/replaced") == 1);
  CHECK(winner(index, "d/deleted") == -1);
  CHECK(winner(index, "d/own") == -1);
  const auto& totals = index.totals();
  REQUIRE(totals.size() == 3);
  CHECK(totals[0].entries == 3);
  CHECK(totals[0].whiteouts == 2);
  CHECK(totals[0].stored_bytes == 0);
  CHECK(totals[1].stored_bytes == 101);
  CHECK(totals[1].seen_bytes == 21);
  CHECK(totals[2].stored_bytes == 70);
  CHECK(totals[2].seen_bytes == 10);
  CHECK(totals[0].cumulative_bytes == 171);

  const WastedPaths wasted = wasted_paths(index, 2);
  CHECK(wasted.count == 3);
  REQUIRE(wasted.worst.size() == 2);
  CHECK(index.paths().text(wasted.worst[0].path) == "d/own");
  CHECK(wasted.worst[0].bytes == 80);
  CHECK(wasted.worst[0].layers == std::vector<uint16_t>{0, 1});
  CHECK(index.paths().text(wasted.worst[1].path) == "d/deleted");
  // own 80 + 0, deleted 40 + 0, replaced 20 + 21, kept 10: of each the smallest.
  const DiveEfficiency dive = dive_efficiency(index).value();
  CHECK(dive.score == doctest::Approx((0 + 0 + 20 + 10) / (80.0 + 40 + 41 + 10)));
  CHECK(dive.wasted_bytes == 80 + 40 + 41);
}

TEST_CASE("opaque directories, directories in the place of files and files in the place of directories hide what is below") {
  Stack stack;
  stack.directory("low/opaque");
  stack.file("low/opaque/old", 1);
  stack.directory("middle/opaque", true);
  stack.file("middle/opaque/new", 2);
  stack.directory("top/opaque");
  stack.file("top/opaque/newest", 4);
  stack.file("low/to-directory", 8);
  stack.directory("middle/to-directory");
  stack.file("middle/to-directory/in", 16);
  stack.directory("low/to-file");
  stack.file("low/to-file/in", 32);
  stack.file("middle/to-file", 64);
  // A directory over that file merges with nothing, not with the lowest directory.
  stack.directory("top/to-file");
  stack.directory("low/removed");
  stack.directory("low/removed/deep");
  stack.file("low/removed/deep/file", 128);
  stack.whiteout("middle/removed");
  stack.directory("top/removed");

  const LayerIndex index = stack.index();
  CHECK(winner(index, "opaque/old") == -1);
  CHECK(winner(index, "opaque/new") == 1);
  CHECK(winner(index, "opaque/newest") == 0);
  CHECK(winner(index, "to-directory") == 1);
  CHECK(winner(index, "to-directory/in") == 1);
  CHECK(winner(index, "to-file") == 0);
  CHECK(winner(index, "to-file/in") == -1);
  CHECK(winner(index, "removed/deep/file") == -1);
  CHECK(index.totals()[1].opaque == 1);
  CHECK(index.totals()[2].seen_bytes == 0);
  CHECK(index.totals()[1].seen_bytes == 2 + 16);

  const auto hiding = [&](std::string_view path) { return hidden_by(index, index.top_entry(path_of(index, path))); };
  const auto of_removed = hiding("removed/deep/file");
  REQUIRE(of_removed);
  CHECK(of_removed->layer == 1);
  CHECK(of_removed->is_deleted);
  const auto of_opaque = hiding("opaque/old");
  REQUIRE(of_opaque);
  CHECK(of_opaque->layer == 1);
  // The whiteout of a directory weighs what the layers below showed in it, for dive; each of these paths is in one layer alone but three.
  CHECK(dive_efficiency(index).value().wasted_bytes == 64 + 0 + 128 + 0);
}

TEST_CASE("the bytes of a file with several names count once, for the first name, and are seen while one of them is") {
  Stack stack;
  stack.file("low/b", 100);
  stack.link("low/b", "low/a");
  stack.link("low/b", "low/c");
  stack.whiteout("top/a");
  stack.file("low/x", 7);
  stack.link("low/x", "low/y");
  stack.whiteout("middle/x");
  stack.whiteout("top/y");
  const LayerIndex index = stack.index();
  CHECK(index.totals()[2].stored_bytes == 107);
  CHECK(index.totals()[2].seen_bytes == 100);
  const WastedPaths wasted = wasted_paths(index, 10);
  REQUIRE(wasted.worst.size() == 1);
  CHECK(index.paths().text(wasted.worst[0].path) == "x");
  CHECK(wasted.worst[0].bytes == 7);
}

TEST_CASE("a metacopy shows the bytes of the file below, a redirected directory merges with nothing of its name") {
  Stack stack;
  stack.file("low/meta", 50);
  stack.file("middle/meta", 0);
  REQUIRE(::truncate(stack.path("middle/meta").c_str(), 50) == 0);
  stack.attribute("middle/meta", "trusted.overlay.metacopy", "");
  // A hole alone is none.
  stack.file("top/hole", 0);
  REQUIRE(::truncate(stack.path("top/hole").c_str(), 50'000) == 0);
  stack.directory("low/moved");
  stack.file("low/moved/in", 1);
  stack.directory("top/moved");
  stack.attribute("top/moved", "trusted.overlay.redirect", "elsewhere");
  const LayerIndex index = stack.index();
  CHECK(winner(index, "meta") == 1);
  CHECK(index.totals()[1].metacopies == 1);
  CHECK(index.totals()[1].stored_bytes == 0);
  CHECK(index.totals()[2].seen_bytes == 50);
  CHECK(index.totals()[0].stored_bytes == 50'000);
  CHECK(index.totals()[0].redirects == 1);
  CHECK(winner(index, "moved/in") == -1);
}

TEST_CASE("queries find by name, place, mode, relation and link") {
  Stack stack;
  stack.directory("low/root");
  stack.directory("low/root/.aws");
  stack.file("low/root/.aws/credentials", 5);
  stack.file("low/credentials", 5);
  stack.file("low/key.pem", 6);
  stack.whiteout("top/key.pem");
  stack.directory("low/var");
  stack.directory("low/var/cache");
  stack.file("low/var/cache/one", 100);
  stack.directory("low/var/cache/deep");
  stack.file("low/var/cache/deep/two", 11);
  stack.directory("top/var");
  stack.whiteout("top/var/cache");
  stack.directory("low/other");
  stack.directory("low/other/var");
  stack.directory("low/other/var/cache");
  stack.file("low/other/var/cache/three", 100);
  stack.file("low/tool", 30);
  stack.file("middle/tool", 30);
  stack.mode("middle/tool", 04755);
  stack.file("top/tool", 30);
  stack.mode("top/tool", 04755);
  stack.directory("low/open");
  stack.mode("low/open", 0777);
  stack.directory("top/open");
  stack.directory("low/shared");
  stack.mode("low/shared", 01777);
  stack.directory("low/free");
  stack.mode("low/free", 0777);
  stack.symlink("nowhere", "low/broken");
  stack.symlink("/tool", "low/whole");
  stack.symlink("../../tool/../x", "low/through-file");
  stack.symlink("key.pem", "low/to-deleted");
  stack.symlink("/proc/self/fd/1", "low/to-proc");
  stack.symlink("loop", "low/loop");
  stack.symlink("root/.aws/../../whole", "low/chain");

  const LayerIndex index = stack.index();
  CHECK(matches(index, {.paths = {".aws/credentials"}}) == Lines{"2 root/.aws/credentials 5"});
  CHECK(matches(index, {.kinds = kFiles, .paths = {"/credentials"}}) == Lines{"2 credentials 5"});
  CHECK(matches(index, {.state = EntryState::kHidden, .suffixes = {".pem"}}) == Lines{"2 key.pem 6"});
  CHECK(matches(index, {.state = EntryState::kSeen, .suffixes = {".pem"}}) == Lines{});
  CHECK(matches(index, {.paths = {"/var/cache"}, .is_below = true}) == Lines{"2 var/cache 111"});
  CHECK(matches(index, {.paths = {"var/cache"}, .is_below = true, .least_bytes = 101}) == Lines{"2 var/cache 111"});
  CHECK(matches(index, {.relation = EntryRelation::kMetadataCopy}) == Lines{"1 tool 30"});
  CHECK(matches(index, {.relation = EntryRelation::kIdenticalCopy}) == Lines{"0 tool 30"});
  CHECK(matches(index, {.state = EntryState::kSeen, .kinds = kFiles, .mode_any = 06000}) == Lines{"0 tool 30"});
  CHECK(index.is_copy_of_below(index.top_entry(path_of(index, "tool"))).value());
  CHECK(!index.is_copy_of_below(index.top_entry(path_of(index, "key.pem"))).value());
  // What a directory above has narrowed is not open any more.
  CHECK(matches(index, {.state = EntryState::kSeen, .kinds = kDirectories, .mode_any = 02, .mode_none = 01000}) == Lines{"2 free 0"});
  CHECK(matches(index, {.relation = EntryRelation::kBrokenLink}) == Lines{"2 broken 0", "2 loop 0", "2 through-file 0", "2 to-deleted 0"});
  const auto results = select_entries(index, {{.kinds = kFiles}}, 2);
  CHECK(results[0].count == 9);
  CHECK(results[0].matches.size() == 2);
}

TEST_CASE("a copy is one by its bytes") {
  Stack stack;
  for (const char* layer : {"low", "middle"}) {
    stack.file(std::string(layer) + "/same", 300'000);
    stack.file(std::string(layer) + "/other", 300'000);
    stack.file(std::string(layer) + "/empty", 0);
  }
  {
    std::fstream other(stack.path("middle/other"), std::ios::in | std::ios::out);
    other.seekp(299'999);
    other << 'y';
  }
  const LayerIndex index = stack.index();
  const auto is_copy = [&](std::string_view path) { return index.is_copy_of_below(index.top_entry(path_of(index, path))).value(); };
  CHECK(is_copy("same"));
  CHECK(!is_copy("other"));
  CHECK(is_copy("empty"));
  // The lowest has nothing below.
  CHECK(!index.is_copy_of_below(index.entry(index.top_entry(path_of(index, "same"))).below).value());
}

TEST_CASE("names are bytes, paths may be longer than PATH_MAX, and nothing is followed") {
  Stack stack;
  const std::string strange = std::string("new\nline\xff") + std::string(200, 'n');
  stack.file("low/" + strange, 3);
  stack.symlink("/", "low/root-link");
  UniqueFd at(::open(stack.path("low").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string name(250, 'd');
  for (int depth = 0; depth < 40; ++depth) {
    REQUIRE(::mkdirat(at.get(), name.c_str(), 0755) == 0);
    at = UniqueFd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  REQUIRE(UniqueFd(::openat(at.get(), "deep", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)));
  const LayerIndex index = stack.index();
  CHECK(winner(index, strange) == 2);
  CHECK(index.totals()[2].entries == 43);
  const std::vector<QueryResult> found = select_entries(index, {{.paths = {"deep"}}}, 10);
  REQUIRE(found[0].matches.size() == 1);
  CHECK(index.paths().text(index.entry(found[0].matches[0].entry).path).size() == 40 * 251 + 4);
  CHECK(index.open_file(found[0].matches[0].entry));
  CHECK(index.link_target(index.entry(index.top_entry(path_of(index, "root-link")))) == "/");
}

TEST_CASE("an index has a limit, can be cancelled, and says what it cannot open") {
  Stack stack;
  for (int file = 0; file < 50; ++file) {
    stack.file("low/" + std::to_string(file), 1);
  }
  const auto limited = LayerIndex::build(stack.layers(), {.max_entries = 49});
  REQUIRE(!limited);
  CHECK(limited.error().errno_value == E2BIG);
  CHECK(limited.error().message().find("more than 49 entries") != std::string::npos);
  CHECK(LayerIndex::build(stack.layers(), {.max_entries = 50}));
  const std::atomic<bool> cancelled = true;
  const auto stopped = LayerIndex::build(stack.layers(), {.cancelled = &cancelled});
  REQUIRE(!stopped);
  CHECK(stopped.error().errno_value == ECANCELED);
  CHECK(dive_efficiency(stack.index(), &cancelled));  // nothing there takes long
  stack.directory("low/a");
  stack.directory("low/a/b");
  stack.directory("low/a/b/c");
  CHECK(LayerIndex::build(stack.layers(), {.max_depth = 3}));
  const auto deep = LayerIndex::build(stack.layers(), {.max_depth = 2});
  REQUIRE(!deep);
  CHECK(deep.error().errno_value == E2BIG);
  CHECK(deep.error().message().find("more than 2 deep") != std::string::npos);
  stack.whiteout("top/a");
  const auto weighed = dive_efficiency(stack.index(), &cancelled);
  REQUIRE(!weighed);
  CHECK(weighed.error().errno_value == ECANCELED);
  const auto missing = LayerIndex::build({stack.path("none")});
  REQUIRE(!missing);
  CHECK(missing.error().errno_value == ENOENT);
}

TEST_CASE("what changes while it is read costs an index no more than what vanished") {
  Stack stack;
  std::atomic<bool> ends = false;
  std::thread writer([&] {
    for (int turn = 0; !ends; ++turn) {
      const std::string place = stack.path("top/d" + std::to_string(turn % 20));
      ::mkdir(place.c_str(), 0755);
      ::mkdir((place + "/in").c_str(), 0755);
      std::ofstream(place + "/in/file") << "x";
      if (turn % 3 != 0) {
        ::unlink((place + "/in/file").c_str());
        ::rmdir((place + "/in").c_str());
        ::rmdir(place.c_str());
        if (::symlink("/", place.c_str()) == 0) {
          ::unlink(place.c_str());
        }
      }
    }
  });
  for (int round = 0; round < 200; ++round) {
    const auto built = LayerIndex::build(stack.layers());
    CHECK_MESSAGE(built, (built ? "" : built.error().message()));
  }
  ends = true;
  writer.join();
}

TEST_CASE("many entries on several threads give the same answers, in little memory") {
  Stack stack;
  constexpr size_t kEach = 2000;
  for (const char* layer : {"top", "middle", "low"}) {
    for (size_t at = 0; at < kEach; ++at) {
      const std::string directory = std::string(layer) + "/" + std::to_string(at / 50);
      if (at % 50 == 0) {
        stack.directory(directory);
      }
      stack.file(directory + "/file-" + std::to_string(at), 1 + at % 3);
    }
  }
  const LayerIndex one = stack.index({.threads = 1});
  const LayerIndex four = stack.index({.threads = 4});
  for (const LayerIndex* index : {&one, &four}) {
    CHECK(index->paths().size() == 1 + kEach + kEach / 50);
    CHECK(index->totals()[0].seen_bytes == index->totals()[0].stored_bytes);
    CHECK(index->totals()[1].seen_bytes == 0);
    // Chunks aside.
    CHECK(index->memory_bytes() < size_t{8} << 20);
  }
  const auto first = wasted_paths(one, 20);
  const auto second = wasted_paths(four, 20);
  REQUIRE(first.worst.size() == 20);
  for (size_t at = 0; at < first.worst.size(); ++at) {
    CHECK(one.paths().text(first.worst[at].path) == four.paths().text(second.worst[at].path));
    CHECK(first.worst[at].bytes == second.worst[at].bytes);
  }
}
