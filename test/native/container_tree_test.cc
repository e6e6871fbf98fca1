#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <fstream>

#include "core/container_tree.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

// A root on a tmpfs of one MiB.
class Root {
 public:
  Root() {
    REQUIRE(::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=1m") == 0);
    fd_ = UniqueFd(::open(directory_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;
  ~Root() { ::umount2(directory_.path().c_str(), MNT_DETACH); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::string at(const std::string& path) const { return directory_ / path; }
  void file(const std::string& path, const std::string& text) const { std::ofstream(at(path)) << text; }

 private:
  TempDirectory directory_;
  UniqueFd fd_;
};

int written(const Root& root, const std::string& path, const std::string& text, WriteOptions options) {
  const UniqueFd input = memory_file(text);
  const Status done = write_tree_file(root.fd(), path, input.get(), options);
  return done ? 0 : done.error().errno_value;
}

int code(const Status& done) { return done ? 0 : done.error().errno_value; }

}  // namespace

TEST_CASE("a file that is written stays the same file") {
  const Root root;
  root.file("f", "a longer text than before");
  REQUIRE(::chmod(root.at("f").c_str(), 04640) == 0);
  REQUIRE(::chown(root.at("f").c_str(), 7, 8) == 0);
  REQUIRE(::chmod(root.at("f").c_str(), 0640) == 0);
  REQUIRE(::link(root.at("f").c_str(), root.at("other").c_str()) == 0);
  REQUIRE(::symlink("f", root.at("link").c_str()) == 0);
  const struct stat before = status_of(root.at("f"));
  CHECK(written(root, "/link", "short", {.size_bytes = 5, .replaces = true}) == 0);
  const struct stat after = status_of(root.at("f"));
  CHECK(read_file(root.at("other")) == "short");
  CHECK(after.st_ino == before.st_ino);
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_uid == 7);
  CHECK(after.st_gid == 8);
  CHECK(S_ISLNK(status_of(root.at("link")).st_mode));
}

TEST_CASE("what is not whole, not wanted or has no room changes nothing") {
  const Root root;
  root.file("f", "old");
  CHECK(written(root, "/f", "new", {.size_bytes = 4, .replaces = true}) == EBADMSG);
  CHECK(written(root, "/f", "news", {.size_bytes = 3, .replaces = true}) == EBADMSG);
  CHECK(written(root, "/f", "new", {.size_bytes = 3, .creates = true}) == EEXIST);
  CHECK(written(root, "/g", "new", {.size_bytes = 3, .replaces = true}) == ENOENT);
  CHECK(written(root, "/f", "", {.size_bytes = kMostWritten + 1, .replaces = true}) == EFBIG);
  const std::string large(2 << 20, 'x');
  CHECK(written(root, "/f", large, {.size_bytes = large.size(), .replaces = true}) == ENOSPC);
  CHECK(written(root, "/g", large, {.size_bytes = large.size(), .creates = true}) == ENOSPC);
  CHECK(read_file(root.at("f")) == "old");
  CHECK_FALSE(exists(root.at("g")));
  CHECK(written(root, "/g", "", {.size_bytes = 0, .creates = true}) == 0);
}

TEST_CASE("only regular files are written, none outside the root, and none of the kernel's") {
  const Root root;
  REQUIRE(::mkdir(root.at("d").c_str(), 0755) == 0);
  REQUIRE(::mkdir(root.at("proc").c_str(), 0755) == 0);
  REQUIRE(::mkfifo(root.at("pipe").c_str(), 0644) == 0);
  REQUIRE(::symlink("/etc/passwd", root.at("out").c_str()) == 0);
  REQUIRE(::symlink("nowhere", root.at("dangling").c_str()) == 0);
  REQUIRE(::mount("proc", root.at("proc").c_str(), "proc", 0, "") == 0);
  const WriteOptions three{.size_bytes = 3, .creates = true, .replaces = true};
  CHECK(written(root, "/d", "new", three) == EISDIR);
  CHECK(written(root, "/pipe", "new", three) == EINVAL);
  CHECK(written(root, "/out", "new", three) == EEXIST);  // it leads to nothing in here
  CHECK(written(root, "/dangling", "new", three) == EEXIST);
  CHECK(written(root, "/proc/self/comm", "new", three) == EPERM);
  CHECK(written(root, "/proc/self/root/etc/passwd", "new", three) == ELOOP);
  CHECK(written(root, "/", "new", three) == EISDIR);
  CHECK(read_file("/etc/passwd") != "new");
}

TEST_CASE("directories are made, and things removed and renamed, but no mount point") {
  const Root root;
  CHECK(code(make_tree_directory(root.fd(), "/d")) == 0);
  CHECK(code(make_tree_directory(root.fd(), "/d")) == EEXIST);
  CHECK(code(make_tree_directory(root.fd(), "/x/y")) == ENOENT);
  CHECK(code(make_tree_directory(root.fd(), "/d/mounted")) == 0);
  root.file("d/f", "text");
  root.file("kept", "text");
  REQUIRE(::symlink("/", root.at("d/link").c_str()) == 0);
  REQUIRE(::mount("tmpfs", root.at("d/mounted").c_str(), "tmpfs", 0, "") == 0);
  root.file("d/mounted/in", "text");
  CHECK(code(remove_tree_entry(root.fd(), "/d/mounted", true)) == EBUSY);
  CHECK(code(remove_tree_entry(root.fd(), "/d", true)) == EBUSY);
  CHECK(code(rename_tree_entry(root.fd(), "/d/mounted", "/e", true)) == EBUSY);
  CHECK(code(rename_tree_entry(root.fd(), "/d", "/d/mounted", true)) == EBUSY);
  CHECK(exists(root.at("d/mounted/in")));
  REQUIRE(::umount(root.at("d/mounted").c_str()) == 0);
  root.file("d/f", "text");

  CHECK(code(remove_tree_entry(root.fd(), "/d", false)) == ENOTEMPTY);
  CHECK(code(rename_tree_entry(root.fd(), "/d/f", "/kept", false)) == EEXIST);
  CHECK(code(rename_tree_entry(root.fd(), "/d/f", "/d/g", false)) == 0);
  CHECK(code(rename_tree_entry(root.fd(), "/d/g", "/kept", true)) == 0);
  CHECK(code(rename_tree_entry(root.fd(), "/d/g", "/x", true)) == ENOENT);
  CHECK(code(remove_tree_entry(root.fd(), "/d", true)) == 0);
  CHECK_FALSE(exists(root.at("d")));
  CHECK(exists(root.at("kept")));
  for (const char* path : {"/", "/.", "/.."}) {
    CHECK(code(remove_tree_entry(root.fd(), path, true)) == EINVAL);
  }
}
