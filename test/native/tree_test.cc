#include <dirent.h>
#include <doctest/doctest.h>
#include <malloc.h>
#include <sys/xattr.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <vector>

#include "core/layer_browse.h"
#include "core/layer_pack.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

TEST_CASE("a tree 5000 directories deep is counted and removed") {
  const TempDirectory base;
  ::mkdir((base / "deep").c_str(), 0755);
  {
    UniqueFd current(::open((base / "deep").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int i = 0; i < 5000; ++i) {
      REQUIRE(::mkdirat(current.get(), "directory", 0755) == 0);
      current = UniqueFd(::openat(current.get(), "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    const UniqueFd file(::openat(current.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::write(file.get(), "12345", 5) == 5);
  }
  const auto usage = tree_usage(base / "deep");
  REQUIRE(usage);
  CHECK(usage->entries == 5001);
  CHECK(usage->size_bytes == 5);
  CHECK(remove_tree(base / "deep"));
  CHECK_FALSE(exists(base / "deep"));
  CHECK(remove_tree(base / "deep"));
}

namespace {

UniqueFd directory_at(int parent, const std::string& name) {
  ::mkdirat(parent, name.c_str(), 0755);
  return UniqueFd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

void make_files(int directory, int count) {
  for (int i = 0; i < count; ++i) {
    ::close(::openat(directory, (std::to_string(i) + std::string(60, 'n')).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  }
}

constexpr int kMany = 12'000, kDepth = 20, kEach = 40;

// `kMany` files, and beside them a way down with `kEach` files in each directory.
uint64_t make_wide_tree(const std::string& path) {
  UniqueFd current = directory_at(AT_FDCWD, path);
  make_files(current.get(), kMany);
  for (int i = 0; i < kDepth; ++i) {
    current = directory_at(current.get(), "down");
    make_files(current.get(), kEach);
  }
  return kMany + kDepth * (kEach + 1);
}

}  // namespace

TEST_CASE("a large directory is walked without holding its names") {
  const TempDirectory base;
  const uint64_t expected = make_wide_tree(base / "wide");
  const UniqueFd root(::open((base / "wide").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<bool> seen(kMany);
  uint64_t entries = 0;
  const size_t before = ::mallinfo2().uordblks;
  size_t most = before;
  REQUIRE(walk_tree(root.get(), TreeOrder::kAsStored, [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    entries += when == TreeVisit::kBefore ? 1 : 0;
    most = std::max(most, ::mallinfo2().uordblks);
    if (entry.depth == 1 && entry.type == DT_REG) {
      const auto index = static_cast<size_t>(std::atoi(entry.name));
      CHECK_FALSE(seen[index]);
      seen[index] = true;
    }
    return true;
  }));
  CHECK(entries == expected);
  CHECK(most - before < (1 << 20));
  CHECK(tree_usage(base / "wide")->complete);
  CHECK(tree_usage(base / "wide", expected)->complete);
  const auto stopped = tree_usage(base / "wide", expected - 1);
  REQUIRE(stopped);
  CHECK_FALSE(stopped->complete);
  CHECK(stopped->entries == expected - 1);
  CHECK(walk_tree(root.get(), TreeOrder::kByName, [](TreeVisit, const TreeEntry&) -> Result<bool> { return true; }, {.most_names = expected}));
  CHECK(walk_tree(root.get(), TreeOrder::kByName, [](TreeVisit, const TreeEntry&) -> Result<bool> { return true; }, {.most_names = expected - 1}).error().errno_value == E2BIG);
  CHECK(remove_tree(base / "wide"));
  CHECK_FALSE(exists(base / "wide"));
}

TEST_CASE("a large directory of a tmpfs is removed") {
  const std::string path = "/dev/shm/strata-test-" + std::to_string(::getpid());
  make_wide_tree(path);
  CHECK(remove_tree(path));
  CHECK_FALSE(exists(path));
}

TEST_CASE("removal never follows a link") {
  const TempDirectory base;
  ::mkdir((base / "outside").c_str(), 0755);
  ::close(::open((base / "outside/kept").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ::mkdir((base / "tree").c_str(), 0755);
  REQUIRE(::symlink("../outside", (base / "tree/link").c_str()) == 0);
  CHECK(remove_tree(base / "tree"));
  CHECK(exists(base / "outside/kept"));
  REQUIRE(::symlink("outside", (base / "top").c_str()) == 0);
  CHECK(remove_tree(base / "top"));
  CHECK(exists(base / "outside/kept"));
  CHECK(remove_tree("/").error().errno_value == EINVAL);
  CHECK(remove_tree("relative").error().errno_value == EINVAL);
}

TEST_CASE("packing a directory twice gives the same bytes, and unpacking them the same tree") {
  const TempDirectory base;
  for (const char* name : {"src", "src/b", "src/a", "out"}) {
    ::mkdir((base / name).c_str(), 0755);
  }
  const std::string long_name = "src/a/" + std::string(150, 'n');
  ::close(::open((base / long_name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0640));
  REQUIRE(::link((base / long_name).c_str(), (base / "src/b/hard").c_str()) == 0);
  REQUIRE(::symlink(std::string(200, 't').c_str(), (base / "src/l").c_str()) == 0);
  const std::string binary("\0\n=\xff", 4);
  REQUIRE(::setxattr((base / "src/b").c_str(), "trusted.bin", binary.data(), binary.size(), 0) == 0);
  REQUIRE(::setxattr((base / "src/b").c_str(), "trusted.overlay.opaque", "y", 1, 0) == 0);
  REQUIRE(::mknod((base / "src/gone").c_str(), S_IFCHR, 0) == 0);
  const UniqueFd source(::open((base / "src").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto pack = [&] {
    const UniqueFd tar = memory_file("");
    REQUIRE(pack_directory(source.get(), tar.get()));
    return read_file("/proc/self/fd/" + std::to_string(tar.get()));
  };
  const std::string first = pack();
  CHECK(first == pack());
  REQUIRE(unpack(first, base / "out"));
  CHECK(status_of(base / "out/b/hard").st_ino == status_of(base / ("out" + long_name.substr(3))).st_ino);
  CHECK(status_of(base / "out/b").st_mtim.tv_nsec == status_of(base / "src/b").st_mtim.tv_nsec);
  CHECK(S_ISCHR(status_of(base / "out/gone").st_mode));
  const UniqueFd again(::open((base / "out").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd tar = memory_file("");
  REQUIRE(pack_directory(again.get(), tar.get()));
  CHECK(read_file("/proc/self/fd/" + std::to_string(tar.get())) == first);
}

TEST_CASE("a directory's holes are packed as holes") {
  const TempDirectory base;
  const UniqueFd source = directory_at(AT_FDCWD, base / "src");
  const auto make = [&](const std::string& name, off_t size, std::initializer_list<std::pair<off_t, const char*>> pieces) {
    const UniqueFd file(::openat(source.get(), name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (const auto& [offset, text] : pieces) {
      REQUIRE(::pwrite(file.get(), text, std::strlen(text), offset) == static_cast<ssize_t>(std::strlen(text)));
    }
    REQUIRE(::ftruncate(file.get(), size) == 0);
  };
  const std::string long_name(150, 'l');
  constexpr off_t kTerabyte = off_t{1} << 40;
  make("empty", 0, {});
  make("hole", kTerabyte, {});
  make("lastlog", kTerabyte, {{0, "first"}, {kTerabyte / 2, "middle"}});
  make("end", kTerabyte, {{kTerabyte - 4, "last"}});
  make("small", 4096, {});
  make(long_name, 1 << 22, {{1 << 19, "middle"}});
  const UniqueFd archive(::memfd_create("pack", MFD_CLOEXEC));
  const auto packed = pack_directory(source.get(), archive.get());
  REQUIRE(packed);
  CHECK(packed->entries == 7);
  CHECK(packed->bytes < (1 << 19));
  ::lseek(archive.get(), 0, SEEK_SET);
  const UniqueFd out = directory_at(AT_FDCWD, base / "out");
  const auto applied = apply_layer(archive.get(), out.get(), {});
  REQUIRE_MESSAGE(applied, applied.error().message());
  CHECK(applied->entries == 7);
  const auto read_at = [&](const std::string& name, off_t offset, size_t length) {
    const UniqueFd file(::openat(out.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text(length, '?');
    const ssize_t got = ::pread(file.get(), text.data(), length, offset);
    return text.substr(0, got < 0 ? 0 : static_cast<size_t>(got));
  };
  for (const char* name : {"hole", "lastlog", "end"}) {
    CHECK(status_of(base / ("out/" + std::string(name))).st_size == kTerabyte);
    CHECK(status_of(base / ("out/" + std::string(name))).st_blocks < 1024);
  }
  CHECK(read_at("lastlog", 0, 6) == std::string("first\0", 6));
  CHECK(read_at("lastlog", kTerabyte / 2, 6) == "middle");
  CHECK(read_at("end", kTerabyte - 4, 8) == "last");
  CHECK(read_at("small", 0, 9000) == std::string(4096, '\0'));
  CHECK(read_at(long_name, 1 << 19, 6) == "middle");
  CHECK(status_of(base / ("out/" + long_name)).st_size == 1 << 22);

  const auto error_of = [&](const PackOptions& options) {
    const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    const auto result = pack_directory(source.get(), null.get(), options);
    return result ? 0 : result.error().errno_value;
  };
  const std::atomic<bool> cancelled = true;
  CHECK(error_of({.cancelled = &cancelled}) == ECANCELED);
  CHECK(error_of({.max_entries = 7}) == 0);
  CHECK(error_of({.max_entries = 5}) == E2BIG);
  CHECK(error_of({.max_bytes = 4096}) == E2BIG);
  CHECK(error_of({.max_bytes = 1 << 20}) == 0);
}

TEST_CASE("a layer is browsed from inside") {
  const TempDirectory base;
  ::mkdir((base / "etc").c_str(), 0755);
  const UniqueFd file(::open((base / "etc/passwd").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  REQUIRE(::write(file.get(), "layer", 5) == 5);
  REQUIRE(::symlink("/etc/passwd", (base / "absolute").c_str()) == 0);
  REQUIRE(::symlink("/proc/self/root/etc", (base / "magic").c_str()) == 0);
  REQUIRE(::mkfifo((base / "fifo").c_str(), 0600) == 0);
  const auto opened = open_layer_file(base.path(), "/absolute");
  REQUIRE(opened);
  CHECK(read_file("/proc/self/fd/" + std::to_string(opened->get())) == "layer");
  CHECK(open_layer_file(base.path(), "/../../etc/passwd"));
  CHECK(open_layer_file(base.path(), "/magic/hostname").error().errno_value == ENOENT);
  CHECK(open_layer_file(base.path(), "/fifo").error().errno_value == EINVAL);
  CHECK(open_layer_file(base.path(), "/etc").error().errno_value == EISDIR);
  const auto listing = list_layer(base.path(), "/", 2);
  REQUIRE(listing);
  CHECK(listing->truncated);
  CHECK(listing->entries.at(0).name == "absolute");
  CHECK(listing->entries.at(0).link_target.value_or("") == "/etc/passwd");
  CHECK(listing->entries.at(1).kind == LayerEntryKind::kDirectory);
  CHECK(stat_layer(base.path(), "/fifo")->kind == LayerEntryKind::kFifo);
}

TEST_CASE("a listing is as long as a message can carry, and its first names are the first of all") {
  const TempDirectory base;
  for (int i = 1999; i >= 0; --i) {
    REQUIRE(::symlink(std::string(i < 1000 ? 100 : 1, '\x01').c_str(), (base / std::to_string(10000 + i)).c_str()) == 0);
  }
  const auto listing = list_layer(base.path(), "/", 10);
  REQUIRE(listing);
  CHECK(listing->truncated);
  REQUIRE(listing->entries.size() == 10);
  CHECK(listing->entries.front().name == "10000");
  CHECK(listing->entries.back().name == "10009");
  const auto bounded = list_layer(base.path(), "/", 10000, 10 * 900);  // each target alone is 600 bytes as JSON
  REQUIRE(bounded);
  CHECK(bounded->truncated);
  CHECK(bounded->entries.size() > 9);
  CHECK(bounded->entries.size() < 15);
  const auto all = list_layer(base.path(), "/", 2000);
  REQUIRE(all);
  CHECK_FALSE(all->truncated);
  CHECK(all->entries.size() == 2000);
}
