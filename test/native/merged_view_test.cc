#include <doctest/doctest.h>
#include <dirent.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <fstream>
#include <functional>
#include <map>
#include <vector>

#include "core/merged_view.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

// Layers on a tmpfs of their own, and overlay mounts of them to compare with.
class Layers {
 public:
  Layers() {
    REQUIRE(::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "") == 0);
    for (const char* name : {"low", "middle", "upper", "work", "mount"}) {
      REQUIRE(::mkdir(at(name).c_str(), 0755) == 0);
    }
  }
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;
  ~Layers() { ::umount2(directory_.path().c_str(), MNT_DETACH); }

  [[nodiscard]] std::string at(const std::string& path) const { return directory_ / path; }
  void directory(const std::string& path, mode_t mode = 0755) const { REQUIRE(::mkdir(at(path).c_str(), mode) == 0); }
  void file(const std::string& path, const std::string& text) const { std::ofstream(at(path)) << text; }
  void link(const std::string& target, const std::string& path) const { REQUIRE(::symlink(target.c_str(), at(path).c_str()) == 0); }
  void whiteout(const std::string& path) const { REQUIRE(::mknod(at(path).c_str(), S_IFCHR, makedev(0, 0)) == 0); }
  void mark(const std::string& path, const char* name, const std::string& value) const {
    REQUIRE(::setxattr(at(path).c_str(), name, value.data(), value.size(), 0) == 0);
  }
  void sh(const std::string& script) const { REQUIRE(std::system(("cd " + at("") + " && { " + script + "; }").c_str()) == 0); }

  // With the upper, what happens in `use` is written to it.
  void mounted(const std::string& options, const std::function<void()>& use) const {
    const std::string data = "lowerdir=" + at("middle") + ":" + at("low") + ",upperdir=" + at("upper") + ",workdir=" + at("work") + options;
    REQUIRE(::mount("overlay", at("mount").c_str(), "overlay", 0, data.c_str()) == 0);
    use();
    REQUIRE(::umount(at("mount").c_str()) == 0);
  }

  [[nodiscard]] MergedView view() const {
    auto opened = MergedView::open({at("upper"), at("middle"), at("low")});
    REQUIRE(opened);
    return std::move(*opened);
  }

 private:
  TempDirectory directory_;
};

std::string text_of(const MergedView& view, const std::string& path) {
  const auto fd = view.open_file(path);
  if (!fd) {
    return "(" + std::string(std::strerror(fd.error().errno_value)) + ")";
  }
  std::string text(1 << 20, '\0');
  const ssize_t got = ::read(fd->get(), text.data(), text.size());
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

int error_of(const MergedView& view, const std::string& path) {
  const auto entry = view.stat(path, true);
  return entry ? 0 : entry.error().errno_value;
}

std::vector<std::string> names(const MergedView& view, const std::string& path) {
  const auto listing = view.list(path);
  REQUIRE_MESSAGE(listing, listing.error().message());
  std::vector<std::string> found;
  for (const LayerEntry& entry : listing->entries) {
    found.push_back(entry.name);
  }
  return found;
}

using Tree = std::map<std::string, std::string>;

std::string line(const std::string& kind, unsigned mode, unsigned uid, uint64_t size, const std::string& more) {
  return kind + " " + std::to_string(mode) + " " + std::to_string(uid) + " " + std::to_string(size) + " " + more;
}

void tree_of(const MergedView& view, const std::string& directory, Tree& tree) {
  const auto listing = view.list(directory);
  REQUIRE_MESSAGE(listing, listing.error().message());
  CHECK_FALSE(listing->truncated);
  for (const LayerEntry& entry : listing->entries) {
    const std::string path = (directory == "/" ? "" : directory) + "/" + entry.name;
    const bool is_file = entry.kind == LayerEntryKind::kFile;
    tree[path] = line(layer_entry_kind_name(entry.kind), entry.mode, entry.uid, entry.size_bytes, is_file ? text_of(view, path) : entry.link_target.value_or(""));
    const auto alone = view.stat(path, false);
    REQUIRE(alone);
    CHECK(alone->mode == entry.mode);
    if (entry.kind == LayerEntryKind::kDirectory) {
      tree_of(view, path, tree);
    }
  }
}

void tree_of(const std::string& root, const std::string& directory, Tree& tree) {
  DIR* stream = ::opendir((root + directory).c_str());
  REQUIRE(stream != nullptr);
  while (const dirent* found = ::readdir(stream)) {
    const std::string name = found->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    const std::string path = (directory == "/" ? "" : directory) + "/" + name;
    struct stat status;
    REQUIRE(::lstat((root + path).c_str(), &status) == 0);
    std::string more;
    if (S_ISREG(status.st_mode)) {
      more = read_file(root + path);
    } else if (S_ISLNK(status.st_mode)) {
      more.resize(4096);
      more.resize(static_cast<size_t>(::readlink((root + path).c_str(), more.data(), more.size())));
    }
    tree[path] = line(layer_entry_kind_name(node_kind(status)), status.st_mode & 07777, status.st_uid, S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0, more);
    if (S_ISDIR(status.st_mode)) {
      tree_of(root, path, tree);
    }
  }
  ::closedir(stream);
}

}  // namespace

TEST_CASE("what is merged is what overlayfs shows of the same layers") {
  Layers layers;
  layers.sh(
      "mkdir -p low/d/deep low/gone low/kept low/swapped low/moved/in/it low/plain && echo low > low/d/deep/f && echo x > low/gone/x && echo k > low/kept/k && echo m > low/moved/in/it/m && "
      "echo big-and-long > low/big && echo a > low/swapped/a && ln -s d/deep low/link && mkfifo low/pipe && echo p > low/plain/p && printf 'n' > 'low/new\nline' && "
      "printf 'i' > \"$(printf 'low/in\\377valid')\" && head -c 255 /dev/zero | tr '\\0' n | { read n; echo long > low/$n; } && "
      "mkdir -p middle/d middle/kept && echo middle > middle/d/g && chmod 700 middle/kept && echo over > middle/kept/k");
  const std::string script =
      "cd mount && rm -r gone && mkdir gone && echo new > gone/y && mv moved renamed && echo more > renamed/in/new && mv renamed/in d/inner && chown 7 big && chmod 600 d/deep/f && "
      "rm -r swapped && ln -s d swapped && rm link && mkdir link && touch link/in && ln big hard && echo h >> hard && mv plain t && mv t plain && touch plain/q && truncate -s 1M sparse && "
      "rm -r kept && mkdir kept && setfattr -n user.x -v 1 pipe 2>/dev/null; true";
  for (const std::string options : {",redirect_dir=on,metacopy=on", ",redirect_dir=off,metacopy=off"}) {
    CAPTURE(options);
    layers.mounted(options, [&] { layers.sh(script); });
    Tree seen, merged;
    layers.mounted(options, [&] { tree_of(layers.at("mount"), "/", seen); });
    tree_of(layers.view(), "/", merged);
    for (const auto& [path, what] : seen) {
      CAPTURE(path);
      CHECK(merged[path] == what);
    }
    CHECK(merged.size() == seen.size());
    CHECK(seen.contains("/renamed"));
    CHECK(seen.contains("/d/inner/new"));
    CHECK(seen.contains("/d/inner/it/m"));
    layers.sh("rm -r upper work && mkdir upper work");
  }
}

TEST_CASE("whiteouts and opaque directories hide what is below them") {
  Layers layers;
  layers.sh("mkdir -p low/a/b low/o && echo 1 > low/a/b/f && echo 2 > low/o/f && echo 3 > low/file && mkdir -p middle/o && echo 4 > middle/o/g");
  layers.whiteout("middle/file");
  layers.mark("middle/o", "trusted.overlay.opaque", "y");
  layers.directory("upper/a");
  layers.whiteout("upper/a/b");
  const MergedView view = layers.view();
  CHECK(names(view, "/") == std::vector<std::string>{"a", "o"});
  CHECK(names(view, "/a").empty());
  CHECK(names(view, "/o") == std::vector<std::string>{"g"});
  CHECK(error_of(view, "/file") == ENOENT);
  CHECK(error_of(view, "/a/b/f") == ENOENT);
  CHECK(error_of(view, "/o/f") == ENOENT);
  CHECK(error_of(view, "/o/g/x") == ENOTDIR);
  CHECK(view.list("/o/g").error().errno_value == ENOTDIR);
  CHECK(view.open_file("/o").error().errno_value == EISDIR);
}

TEST_CASE("links are followed as in the container, and never lead out of it") {
  Layers layers;
  layers.sh("mkdir -p low/etc low/usr/lib upper/usr && echo ours > low/etc/shadow && echo lib > low/usr/lib/so");
  layers.link("/etc/shadow", "upper/absolute");
  layers.link("../../../../../../etc/shadow", "upper/usr/up");
  layers.link("usr/lib", "upper/lib");
  layers.link("loop", "upper/loop");
  layers.link("nowhere", "upper/dangling");
  layers.link("/proc/self/root/etc/shadow", "upper/magic");
  const MergedView view = layers.view();
  CHECK(text_of(view, "/absolute") == "ours\n");
  CHECK(text_of(view, "/usr/up") == "ours\n");
  CHECK(text_of(view, "/lib/so") == "lib\n");
  CHECK(text_of(view, "/lib/../../etc/shadow") == "ours\n");
  CHECK(text_of(view, "/../../lib/./so") == "lib\n");
  CHECK(error_of(view, "/loop") == ELOOP);
  CHECK(error_of(view, "/dangling") == ENOENT);
  CHECK(error_of(view, "/magic") == ENOENT);
  const auto listing = view.list("/");
  REQUIRE(listing);
  std::map<std::string, std::string> kinds;
  for (const LayerEntry& entry : listing->entries) {
    if (entry.kind == LayerEntryKind::kSymlink) {
      kinds[entry.name] = entry.link_kind ? layer_entry_kind_name(*entry.link_kind) : "";
    }
  }
  CHECK(kinds == std::map<std::string, std::string>{{"absolute", "file"}, {"dangling", ""}, {"lib", "directory"}, {"loop", ""}, {"magic", ""}});
  CHECK(view.stat("/lib", false)->link_target == "usr/lib");
  CHECK(view.stat("/lib", true)->kind == LayerEntryKind::kDirectory);
}

TEST_CASE("a link in one layer's directory is no way through another layer") {
  Layers layers;
  layers.sh("mkdir -p low/d && echo below > low/d/f");
  layers.link("/etc", "upper/d");  // of the host, if it were followed
  const MergedView view = layers.view();
  CHECK(error_of(view, "/d/passwd") == ENOENT);
  CHECK(view.list("/d").error().errno_value == ENOENT);
}

TEST_CASE("a redirect that is no path, and content that is nowhere, are errors") {
  Layers layers;
  layers.sh("mkdir -p upper/up upper/dots upper/cut low/real && echo x > low/real/x && truncate -s 9 upper/lost && truncate -s 9 upper/dir && mkdir low/dir");
  layers.mark("upper/up", "trusted.overlay.redirect", "../real");
  layers.mark("upper/dots", "trusted.overlay.redirect", "/real/..");
  layers.mark("upper/cut", "trusted.overlay.redirect", "/");
  layers.mark("upper/lost", "trusted.overlay.metacopy", "");
  layers.mark("upper/dir", "trusted.overlay.metacopy", "");
  const MergedView view = layers.view();
  for (const char* path : {"/up", "/dots", "/cut", "/dir"}) {
    CAPTURE(path);
    CHECK(error_of(view, path) == EIO);
  }
  CHECK(view.stat("/lost", true)->size_bytes == 9);
  CHECK(view.open_file("/lost").error().errno_value == EIO);
}

TEST_CASE("of a large directory the first names are given, whatever hides the others") {
  Layers layers;
  layers.sh("mkdir low/d upper/d && cd low/d && seq -f %05g 1 6000 | xargs touch && cd ../../upper/d && seq -f new%05g 1 3000 | xargs touch");
  for (int i = 1; i <= 5; ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "upper/d/%05d", i);
    layers.whiteout(name);
  }
  const auto listing = layers.view().list("/d", 20);
  REQUIRE(listing);
  CHECK(listing->truncated);
  CHECK(listing->entries.front().name == "00006");
  CHECK(listing->entries.size() <= 20);
  CHECK(listing->entries.size() >= 15);
  const auto whole = layers.view().list("/d", 10'000);
  REQUIRE(whole);
  CHECK_FALSE(whole->truncated);
  CHECK(whole->entries.size() == 8995);
}

TEST_CASE("a path that goes up and down without end is given up") {
  Layers layers;
  layers.sh("mkdir -p low/a/b/c/d/e/f/g/h/i/j/k/l");
  std::string target;
  while (target.size() < 3900) {
    target += "a/b/c/d/e/f/g/h/i/j/k/l/../../../../../../../../../../../../";
  }
  for (int i = 0; i < 39; ++i) {
    layers.link(target + (i == 0 ? "a" : "l" + std::to_string(i - 1)), "low/l" + std::to_string(i));
  }
  CHECK(error_of(layers.view(), "/l2") == 0);
  CHECK(error_of(layers.view(), "/l38") == ELOOP);
}
