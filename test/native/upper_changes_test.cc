#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <fstream>

#include "core/upper_changes.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr timespec kTime[2] = {{1'700'000'000, 5}, {1'700'000'000, 5}};

std::string detail_line(const UpperChange& change) {
  const NodeDifferences& found = change.differences;
  std::string line = change.kind == ChangeKind::kAdded ? "added " : change.kind == ChangeKind::kDeleted ? "deleted " : change.kind == ChangeKind::kCopiedUp ? "same " : "changed ";
  line += change.path;
  const auto add = [&](bool differs, const char* name) { line += differs ? name : ""; };
  add(found.type, " type");
  add(found.content, " content");
  add(found.mode, " mode");
  add(found.owner, " owner");
  add(found.attributes, " attributes");
  add(found.mtime, " mtime");
  if (change.below) {
    line += " <" + std::to_string(change.below->layer);
  }
  return line + (change.moved_from.empty() ? "" : " from " + change.moved_from);
}

// Three directories as overlay has them.
class Layers {
 public:
  Layers() {
    for (const char* name : {"upper", "middle", "bottom"}) {
      REQUIRE(::mkdir((place_ / name).c_str(), 0755) == 0);
    }
  }
  void directory(const std::string& path, bool opaque = false) {
    REQUIRE(::mkdir((place_ / path).c_str(), 0755) == 0);
    if (opaque) {
      attribute(path, "trusted.overlay.opaque", "y");
    }
  }
  void file(const std::string& path, const std::string& text = "text") {
    std::ofstream(place_ / path) << text;
    REQUIRE(::utimensat(AT_FDCWD, (place_ / path).c_str(), kTime, 0) == 0);
  }
  void whiteout(const std::string& path) { REQUIRE(::mknod((place_ / path).c_str(), S_IFCHR, makedev(0, 0)) == 0); }
  void attribute(const std::string& path, const char* name, const std::string& value) { REQUIRE(::setxattr((place_ / path).c_str(), name, value.data(), value.size(), 0) == 0); }
  [[nodiscard]] std::string path(const std::string& name) const { return place_ / name; }

  [[nodiscard]] std::vector<std::string> changes() const {
    std::vector<std::string> lines;
    const ChangeVisitor visit = [&](const UpperChange& change) -> Status {
      lines.push_back(std::string(change.kind == ChangeKind::kAdded ? "A " : change.kind == ChangeKind::kChanged ? "C " : "D ") + change.path);
      return {};
    };
    REQUIRE(find_upper_changes(place_ / "upper", {place_ / "middle", place_ / "bottom"}, visit));
    return lines;
  }
  // "metadata /a (mode owner)"
  [[nodiscard]] std::vector<std::string> details() const {
    std::vector<std::string> lines;
    const ChangeVisitor visit = [&](const UpperChange& change) -> Status {
      lines.push_back(detail_line(change));
      return {};
    };
    REQUIRE(find_upper_changes(place_ / "upper", {place_ / "middle", place_ / "bottom"}, visit, {.details = true}));
    return lines;
  }

 private:
  TempDirectory place_;
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("an upper is compared with what all layers below show") {
  Layers layers;
  layers.directory("bottom/d");
  layers.file("bottom/d/low");
  layers.file("bottom/d/hidden");
  layers.directory("middle/d");
  layers.file("middle/d/mid");
  layers.whiteout("middle/d/hidden");
  layers.directory("upper/d");

  SUBCASE("a directory that was only copied up is no change") { CHECK(layers.changes().empty()); }
  SUBCASE("nor is a file, as long as it is the same") {
    layers.file("upper/d/low");
    CHECK(layers.changes().empty());
    REQUIRE(::chmod(layers.path("upper/d/low").c_str(), 0600) == 0);
    CHECK(layers.changes() == Lines{"C /d", "C /d/low"});
  }
  SUBCASE("a file with another time, content or kind is changed") {
    layers.file("upper/d/low", "other");
    layers.directory("upper/d/mid");
    layers.file("upper/d/mid/x");
    CHECK(layers.changes() == Lines{"C /d", "C /d/low", "C /d/mid", "A /d/mid/x"});
  }
  SUBCASE("what a layer below has hidden already is added") {
    layers.file("upper/d/hidden");
    CHECK(layers.changes() == Lines{"C /d", "A /d/hidden"});
  }
  SUBCASE("both forms of a whiteout delete what is shown below, and nothing else") {
    layers.whiteout("upper/d/low");
    layers.whiteout("upper/d/hidden");
    layers.whiteout("upper/d/nothing");
    layers.attribute("upper/d", "trusted.overlay.opaque", "x");
    layers.file("upper/d/mid", "");
    layers.attribute("upper/d/mid", "trusted.overlay.whiteout", "");
    CHECK(layers.changes() == Lines{"C /d", "D /d/low", "D /d/mid"});
  }
  SUBCASE("an opaque directory has lost what it does not have itself") {
    layers.attribute("upper/d", "trusted.overlay.opaque", "y");
    layers.file("upper/d/mid");
    layers.file("upper/d/new");
    CHECK(layers.changes() == Lines{"C /d", "D /d/low", "A /d/new"});
  }
  SUBCASE("attributes that a container can write say nothing") {
    layers.attribute("upper/d", "user.overlay.opaque", "y");
    CHECK(layers.changes().empty());
  }
  SUBCASE("a directory that was moved is a new one") {
    layers.directory("upper/moved");
    layers.attribute("upper/moved", "trusted.overlay.redirect", "/d");
    CHECK(layers.changes() == Lines{"A /moved"});
  }
}

TEST_CASE("each directory above a change is changed, once, before it") {
  Layers layers;
  for (const char* path : {"bottom/a", "bottom/a/b", "bottom/z", "upper/a", "upper/a/b", "upper/z"}) {
    layers.directory(path);
  }
  layers.file("upper/a/b/one");
  layers.file("upper/a/two");
  CHECK(layers.changes() == Lines{"C /a", "C /a/b", "A /a/b/one", "A /a/two"});
}

TEST_CASE("an opaque layer in the middle hides what is below it") {
  Layers layers;
  layers.directory("bottom/d");
  layers.file("bottom/d/low");
  layers.directory("middle/d", true);
  layers.directory("upper/d");
  layers.file("upper/d/low");
  CHECK(layers.changes() == Lines{"C /d", "A /d/low"});
}

TEST_CASE("who listens may end it") {
  Layers layers;
  layers.file("upper/a");
  const auto ended = find_upper_changes(layers.path("upper"), {layers.path("middle")}, [](const UpperChange&) -> Status { return fail(EPIPE, "write 'changes'"); });
  CHECK(ended.error().errno_value == EPIPE);
}

TEST_CASE("with details each change says in what it differs, by content and not by time") {
  Layers layers;
  layers.directory("bottom/d");
  layers.file("bottom/d/f", "some text");
  layers.directory("upper/d");
  const std::string file = layers.path("upper/d/f");

  SUBCASE("what was copied up is told, and changes no directory") {
    layers.file("upper/d/f", "some text");
    CHECK(layers.details() == Lines{"same /d/f <1"});
  }
  SUBCASE("another time alone is metadata") {
    layers.file("upper/d/f", "some text");
    REQUIRE(::utimensat(AT_FDCWD, file.c_str(), nullptr, 0) == 0);
    CHECK(layers.details() == Lines{"changed /d", "changed /d/f mtime <1"});
  }
  SUBCASE("other bytes of the same length and time are content") {
    layers.file("upper/d/f", "same size");
    CHECK(layers.changes().empty());
    CHECK(layers.details() == Lines{"changed /d", "changed /d/f content <1"});
  }
  SUBCASE("mode, owner and attributes") {
    layers.file("upper/d/f", "some text");
    layers.attribute("upper/d/f", "user.note", "x");
    REQUIRE(::chmod(file.c_str(), 0600) == 0);
    REQUIRE(::chown(file.c_str(), 7, 8) == 0);
    REQUIRE(::chmod(layers.path("upper/d").c_str(), 0700) == 0);
    CHECK(layers.details() == Lines{"changed /d mode <1", "changed /d/f mode owner attributes <1"});
  }
  SUBCASE("overlay's own attributes are none") {
    layers.file("upper/d/f", "some text");
    layers.attribute("upper/d", "trusted.overlay.impure", "y");
    layers.attribute("upper/d/f", "trusted.overlay.origin", "x");
    CHECK(layers.details() == Lines{"same /d/f <1"});
  }
  SUBCASE("a file whose content was left below has that content") {
    layers.file("upper/d/f", "");
    REQUIRE(::truncate(file.c_str(), 9) == 0);
    REQUIRE(::utimensat(AT_FDCWD, file.c_str(), kTime, 0) == 0);
    layers.attribute("upper/d/f", "trusted.overlay.metacopy", "");
    REQUIRE(::chmod(file.c_str(), 0600) == 0);
    CHECK(layers.details() == Lines{"changed /d", "changed /d/f mode <1"});
  }
  SUBCASE("what became something else") {
    REQUIRE(::symlink("/etc", file.c_str()) == 0);
    CHECK(layers.details() == Lines{"changed /d", "changed /d/f type <1"});
  }
  SUBCASE("what was deleted says where it was") {
    layers.whiteout("upper/d/f");
    CHECK(layers.details() == Lines{"changed /d", "deleted /d/f <1"});
  }
}

TEST_CASE("a symbolic link in the place of a directory is another kind, and nothing is looked at through it") {
  Layers layers;
  layers.directory("bottom/d");
  layers.file("bottom/d/f");
  layers.directory("bottom/e");
  layers.file("bottom/e/f", "other");
  REQUIRE(::symlink("e", layers.path("upper/d").c_str()) == 0);
  CHECK(layers.details() == Lines{"changed /d type <1"});
  // And the other way round.
  REQUIRE(::symlink("e", layers.path("middle/l").c_str()) == 0);
  layers.directory("upper/l", true);
  layers.file("upper/l/f");
  CHECK(layers.details() == Lines{"changed /d type <1", "changed /l type <0", "added /l/f"});
}

TEST_CASE("links: the target is the content; names of one file are compared one by one") {
  Layers layers;
  REQUIRE(::symlink("aa", layers.path("bottom/l").c_str()) == 0);
  REQUIRE(::symlink("bb", layers.path("upper/l").c_str()) == 0);
  REQUIRE(::utimensat(AT_FDCWD, layers.path("bottom/l").c_str(), kTime, AT_SYMLINK_NOFOLLOW) == 0);
  REQUIRE(::utimensat(AT_FDCWD, layers.path("upper/l").c_str(), kTime, AT_SYMLINK_NOFOLLOW) == 0);
  layers.file("bottom/one");
  REQUIRE(::link(layers.path("bottom/one").c_str(), layers.path("bottom/two").c_str()) == 0);
  // Copied up and written by one name: the other stays as it was.
  layers.file("upper/one", "more text");
  CHECK(layers.details() == Lines{"changed /l content <1", "changed /one content <1"});
  REQUIRE(::link(layers.path("upper/one").c_str(), layers.path("upper/two").c_str()) == 0);
  CHECK(layers.details() == Lines{"changed /l content <1", "changed /one content <1", "changed /two content <1"});
}

TEST_CASE("what overlay renamed is added, says where it was, and is compared with that") {
  Layers layers;
  layers.directory("bottom/a");
  layers.directory("bottom/a/d");
  layers.file("bottom/a/d/f");
  layers.file("bottom/a/d/g");
  layers.directory("upper/t");
  layers.attribute("upper/t", "trusted.overlay.redirect", "/a/d");
  layers.file("upper/t/f", "other");
  layers.whiteout("upper/t/g");
  // Once more, by a name in the same directory.
  layers.directory("upper/a");
  layers.directory("upper/a/e");
  layers.attribute("upper/a/e", "trusted.overlay.redirect", "d");
  CHECK(layers.details() == Lines{"changed /a", "added /a/e <1 from /a/d", "added /t <1 from /a/d", "changed /t/f content <1", "deleted /t/g <1"});
  CHECK(layers.changes() == Lines{"C /a", "A /a/e", "A /t", "A /t/f"});
  // Who writes to a layer cannot lead out of it.
  layers.attribute("upper/t", "trusted.overlay.redirect", "/../../etc");
  CHECK(layers.details() == Lines{"changed /a", "added /a/e <1 from /a/d", "added /t from /../../etc", "added /t/f"});
}

TEST_CASE("large and sparse files: holes are not read, and a difference behind them is found") {
  Layers layers;
  constexpr off_t kSize = off_t{1} << 40;
  const auto sparse = [&](const char* path, const char* end) {
    layers.file(path, "");
    const UniqueFd file(::open(layers.path(path).c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), kSize) == 0);
    REQUIRE(::pwrite(file.get(), end, 1, kSize - 1) == 1);
  };
  sparse("bottom/f", "x");
  sparse("upper/f", "y");
  REQUIRE(::utimensat(AT_FDCWD, layers.path("bottom/f").c_str(), kTime, 0) == 0);
  REQUIRE(::utimensat(AT_FDCWD, layers.path("upper/f").c_str(), kTime, 0) == 0);
  CHECK(layers.details() == Lines{"changed /f content <1"});
  sparse("upper/f", "x");
  REQUIRE(::utimensat(AT_FDCWD, layers.path("upper/f").c_str(), kTime, 0) == 0);
  CHECK(layers.details() == Lines{"same /f <1"});
}

TEST_CASE("names are bytes, and paths may be longer than a system call takes") {
  Layers layers;
  const std::string strange = "a\nb\xff" + std::string(250, 'x');
  layers.file("bottom/" + strange, "one");
  layers.file("upper/" + strange, "two");
  CHECK(layers.details() == Lines{"changed /" + strange + " content <1"});
  REQUIRE(::unlink(layers.path("upper/" + strange).c_str()) == 0);

  const std::string name(200, 'd');
  for (const char* layer : {"bottom", "upper"}) {
    UniqueFd at(::open(layers.path(layer).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int depth = 0; depth < 40; ++depth) {
      REQUIRE(::mkdirat(at.get(), name.c_str(), 0755) == 0);
      at.reset(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    const UniqueFd file(::openat(at.get(), "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(::write(file.get(), layer, 1) == 1);
    REQUIRE(::futimens(file.get(), kTime) == 0);
  }
  const auto found = layers.details();
  REQUIRE(found.size() == 41);
  CHECK(found.back().starts_with("changed /" + name));
  CHECK(found.back().ends_with("/f content <1"));
}
