#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/directory_watch.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

// What wait() says when `change` is made once it watches; it is cancelled where nothing comes.
bool is_told(const std::string& path, const std::function<void()>& change) {
  auto watch = DirectoryWatch::open(path);
  REQUIRE(watch);
  change();
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    watch->cancel();
  });
  const auto told = watch->wait();
  canceller.join();
  REQUIRE(told);
  return *told;
}

}  // namespace

TEST_CASE("a watch tells of what changes below its directory, at any depth, and of nothing else") {
  TempDirectory place;
  for (const char* name : {"in", "in/deep", "in/deep/er", "inside", "out"}) {
    REQUIRE(::mkdir((place / name).c_str(), 0755) == 0);
  }
  const auto write = [&](const char* name) { std::ofstream(place / name, std::ios::app) << "x"; };
  write("in/deep/er/old");
  const std::string in = place / "in";
  CHECK(is_told(in, [&] { write("in/new"); }));
  CHECK(is_told(in, [&] { write("in/deep/er/old"); }));
  CHECK(is_told(in, [&] { REQUIRE(::chmod((place / "in/deep/er/old").c_str(), 0600) == 0); }));
  CHECK(is_told(in, [&] { REQUIRE(::unlink((place / "in/new").c_str()) == 0); }));
  CHECK(is_told(in, [&] { REQUIRE(::rename((place / "out").c_str(), (place / "in/out").c_str()) == 0); }));
  CHECK(is_told(in, [&] {
    REQUIRE(::mkdir((place / "in/made").c_str(), 0755) == 0);
    write("in/made/f");
  }));
  CHECK_FALSE(is_told(in, [&] {
    write("beside");
    write("inside/f");
  }));
  CHECK_FALSE(is_told(in, [] {}));
}

TEST_CASE("a watch of what is not there fails") { CHECK(DirectoryWatch::open("/nowhere/at/all").error().errno_value == ENOENT); }
