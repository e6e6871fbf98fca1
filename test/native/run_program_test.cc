#include <doctest/doctest.h>
#include <time.h>

#include "core/run_program.h"

using namespace strata;

namespace {

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

TEST_CASE("input, output, errors and the exit status") {
  const auto run = run_program("/bin/sh", {"-c", "cat; echo oops >&2; exit 7"}, {.input = std::string(300000, 'i'), .has_input = true});
  REQUIRE(run);
  CHECK(run->exit_code == 7);
  CHECK(run->output == std::string(300000, 'i'));
  CHECK(run->errors == "oops\n");
  CHECK(run_program("/bin/sh", {"-c", "kill -9 $$"}, {})->exit_code == 137);
  CHECK(run_program("/bin/sh", {"-c", "exit 0"}, {.input = std::string(300000, 'i'), .has_input = true})->exit_code == 0);  // nobody reads
  CHECK(run_program("/nonexistent", {}, {}).error().errno_value == ENOENT);
}

TEST_CASE("a daemon that keeps the pipes does not hold the caller") {
  const double begin = now();
  const auto run = run_program("/bin/sh", {"-c", "sleep 5 & echo ready"}, {});
  REQUIRE(run);
  CHECK(run->output == "ready\n");
  CHECK(now() - begin < 3);
}

TEST_CASE("a session of its own, cwd /, three descriptors, no environment") {
  const auto run = run_program("/bin/sh", {"-c", "pwd; ls /proc/self/fd | wc -l; env | grep -c -v -E '^(PATH|PWD|OLDPWD|SHLVL|_)='; ps -o pid=,sid= -p $$ | { read a b; [ $a = $b ] && echo leader; }"}, {});
  REQUIRE(run);
  CHECK(run->output == "/\n4\n0\nleader\n");
}

TEST_CASE("it is killed when its time is over, and its output is bounded") {
  const auto run = run_program("/bin/sleep", {"20"}, {.timeout_ms = 50});
  REQUIRE_FALSE(run);
  CHECK(run.error().errno_value == ETIMEDOUT);
  CHECK(run_program("/bin/sh", {"-c", "head -c 500000 /dev/zero >&2"}, {})->errors.size() == 64 << 10);
}
