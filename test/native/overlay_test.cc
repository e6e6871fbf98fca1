#include <doctest/doctest.h>

#include <algorithm>

#include "fake_sys.h"
#include "runtime/overlay.h"

using namespace strata;
using namespace strata::runtime;
using strata::test::FakeSys;

namespace {

const OverlayParams kParams{{"/l2", "/l1"}, "/c/upper", "/c/work", false};

auto count(const FakeSys& sys, const std::string& call) { return std::count(sys.calls.begin(), sys.calls.end(), call); }

}  // namespace

TEST_CASE("layers go by descriptor where the kernel takes them so") {
  FakeSys sys;
  REQUIRE(make_overlay(sys, kParams, {}, "/x"));
  CHECK(count(sys, "setfd lowerdir+") == 2);
  CHECK(count(sys, "set volatile") == 0);
  CHECK(count(sys, "create") == 1);
}

TEST_CASE("older kernels get paths, still older ones one string") {
  FakeSys paths;
  paths.refused = {{"setfd lowerdir+", EBADF}};
  REQUIRE(make_overlay(paths, kParams, {}, "/x"));
  CHECK(count(paths, "set lowerdir+") == 2);
  FakeSys one_string;
  one_string.refused = {{"setfd lowerdir+", EINVAL}, {"set lowerdir+", EINVAL}};
  REQUIRE(make_overlay(one_string, kParams, {}, "/x"));
  CHECK(count(one_string, "set lowerdir") == 1);
}

TEST_CASE("a failure ends the attempts and says which layer or why") {
  FakeSys missing;
  missing.absent = {"/l1"};
  const auto no_layer = make_overlay(missing, kParams, {}, "/x");
  REQUIRE_FALSE(no_layer);
  CHECK(no_layer.error().path == "/l1");
  FakeSys full;
  full.refused = {{"create", ENOSPC}};
  const auto no_space = make_overlay(full, kParams, {}, "/x");
  REQUIRE_FALSE(no_space);
  CHECK(no_space.error().code == ErrorCode::kNoSpace);
  CHECK(count(full, "create") == 1);
  FakeSys none;
  none.refused = {{"fsopen overlay", ENODEV}};
  const auto no_overlay = make_overlay(none, kParams, {}, "/x");
  REQUIRE_FALSE(no_overlay);
  CHECK(no_overlay.error().code == ErrorCode::kKernelFeatureMissing);
}

TEST_CASE("a user namespace needs upper and work side by side, and a file system that can be id-mapped") {
  FakeSys sys;
  CHECK_FALSE(make_overlay(sys, {{"/l1"}, "/c/upper", "/d/work", false}, {.user_namespace = 0, .uid = 0, .gid = 0}, "/x"));
  FakeSys unmappable;
  unmappable.refused = {{"attributes clone:/l1", EINVAL}};
  const auto refused = make_overlay(unmappable, {{"/l1"}, "/c/upper", "/c/work", false}, {.user_namespace = 0, .uid = 0, .gid = 0}, "/x");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kKernelFeatureMissing);
}
