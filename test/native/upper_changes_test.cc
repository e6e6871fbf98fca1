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
