#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <fstream>
#include <vector>

#include "core/layer_copy.h"
#include "core/layer_pack.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

UniqueFd directory(const std::string& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

std::string digest_of(const std::string& path) {
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const auto packed = pack_directory(directory(path).get(), null.get());
  REQUIRE_MESSAGE(packed, packed.error().message());
  return packed->diff_id;
}

AppliedLayer merged(const std::vector<std::string>& layers, bool over_base, const std::string& destination) {
  std::vector<UniqueFd> opened;
  std::vector<int> descriptors;
  for (const std::string& layer : layers) {
    opened.push_back(directory(layer));
    descriptors.push_back(opened.back().get());
  }
  ::mkdir(destination.c_str(), 0755);
  const auto result = merge_layers(descriptors, over_base, directory(destination).get(), nullptr);
  REQUIRE_MESSAGE(result, result.error().message());
  return *result;
}

// Three layers that hide, replace and add to each other; layers.at(0) is the top.
class Stack {
 public:
  Stack() {
    for (const char* name : {"low", "middle", "top"}) {
      make_directory(name, "");
    }
    for (const char* name : {"kept", "replaced", "emptied", "emptied/deep", "removed", "to-file", "rewritten", "opaque-twice"}) {
      make_directory("low", name);
      write("low", std::string(name) + "/old", "low");
    }
    write("low", "file-removed", "low");
    write("low", "file-to-directory", "low");
    write("low", "file-comes-back", "low");
    REQUIRE(::link(at("low", "kept/old").c_str(), at("low", "hard").c_str()) == 0);
    REQUIRE(::symlink("kept", at("low", "link").c_str()) == 0);

    make_directory("middle", "kept", 0700);
    write("middle", "kept/more", "middle");
    make_opaque("middle", "emptied");
    hide("middle", "removed");
    hide("middle", "file-removed");
    hide("middle", "file-comes-back");
    make_directory("middle", "file-to-directory");
    write("middle", "file-to-directory/in", "middle");
    write("middle", "to-file", "a file");
    make_opaque("middle", "opaque-twice");
    write("middle", "opaque-twice/middle", "middle");
    make_directory("middle", "rewritten");
    hide("middle", "rewritten/old");

    write("top", "file-comes-back", "top");
    make_directory("top", "to-file");
    write("top", "to-file/in", "top");
    make_opaque("top", "opaque-twice");
    make_directory("top", "rewritten");
    write("top", "rewritten/old", "top");
    hide("top", "nothing-below");
    hide("top", "link");
    make_directory("top", "kept", 0755);
    hide("top", "kept/more");
  }

  [[nodiscard]] std::string at(const std::string& layer, const std::string& name = "") const { return base_ / (layer + (name.empty() ? "" : "/" + name)); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return base_ / name; }

 private:
  void make_directory(const std::string& layer, const std::string& name, mode_t mode = 0755) {
    REQUIRE(::mkdir(at(layer, name).c_str(), mode) == 0);
  }
  void make_opaque(const std::string& layer, const std::string& name) {
    make_directory(layer, name);
    REQUIRE(::setxattr(at(layer, name).c_str(), "trusted.overlay.opaque", "y", 1, 0) == 0);
  }
  void write(const std::string& layer, const std::string& name, const std::string& text) { std::ofstream(at(layer, name)) << text; }
  void hide(const std::string& layer, const std::string& name) { REQUIRE(::mknod(at(layer, name).c_str(), S_IFCHR, 0) == 0); }

  TempDirectory base_;
};

// What overlay shows of these layers, packed.
std::string overlay_digest(const Stack& stack, const std::string& lower) {
  const std::string place = stack / "mounted";
  ::mkdir(place.c_str(), 0755);
  REQUIRE_MESSAGE(::mount("overlay", place.c_str(), "overlay", MS_RDONLY, ("lowerdir=" + lower).c_str()) == 0, std::strerror(errno));
  const std::string digest = digest_of(place);
  REQUIRE(::umount2(place.c_str(), MNT_DETACH) == 0);
  return digest;
}

}  // namespace

TEST_CASE("merged layers are what overlay shows of them") {
  const Stack stack;
  const AppliedLayer all = merged({stack.at("top"), stack.at("middle"), stack.at("low")}, false, stack / "all");
  CHECK(all.diff_id == digest_of(stack / "all"));
  CHECK(all.diff_id == overlay_digest(stack, stack.at("top") + ":" + stack.at("middle") + ":" + stack.at("low")));
  CHECK_FALSE(exists(stack / "all/nothing-below"));
  CHECK_FALSE(exists(stack / "all/removed"));
  CHECK(status_of(stack / "all/hard").st_ino == status_of(stack / "all/kept/old").st_ino);
}

TEST_CASE("layers that were merged over others hide what they hid") {
  const Stack stack;
  const AppliedLayer upper = merged({stack.at("top"), stack.at("middle")}, true, stack / "upper");
  CHECK(upper.diff_id == digest_of(stack / "upper"));
  CHECK(overlay_digest(stack, stack / "upper" + ":" + stack.at("low")) ==
        overlay_digest(stack, stack.at("top") + ":" + stack.at("middle") + ":" + stack.at("low")));
  CHECK(status_of(stack / "upper/removed").st_rdev == 0);
  CHECK(S_ISCHR(status_of(stack / "upper/removed").st_mode));
}
