#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "core/layer_stream.h"
#include "core/worker_pool.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

// Counts who is inside, and lets them out together.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    most_inside_ = std::max(most_inside_, ++inside_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --inside_;
    ++passed_;
    changed_.notify_all();
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_inside(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return inside_ == count; });
  }
  void wait_passed(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return passed_ == count; });
  }
  [[nodiscard]] int most_inside() {
    const std::lock_guard lock(mutex_);
    return most_inside_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0, most_inside_ = 0, passed_ = 0;
  bool open_ = false;
};

// A user who may have no thread but the ones there are. In a process of its own: the limit is of its user, and root has none.
int exit_code_without_threads(const std::function<int(const std::function<void()>&)>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto forbid_threads = [] {
      const rlimit none{0, 0};
      if (::setrlimit(RLIMIT_NPROC, &none) != 0 || ::setresuid(64123, 64123, 64123) != 0) {
        ::_exit(99);
      }
    };
    ::alarm(60);
    ::_exit(body(forbid_threads));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("work runs at once up to the bound, and what is above waits") {
  Gate gate;
  WorkerPool pool(3);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(pool.submit([&] { gate.pass(); }));
  }
  gate.wait_inside(3);
  gate.open();
  gate.wait_passed(20);
  CHECK(gate.most_inside() == 3);
}

TEST_CASE("a pool that goes leaves no work undone") {
  Gate gate;
  {
    WorkerPool pool(1);
    for (int i = 0; i < 5; ++i) {
      REQUIRE(pool.submit([&] { gate.pass(); }));
    }
    gate.wait_inside(1);
  }
  gate.open();
  gate.wait_passed(5);
  CHECK(gate.most_inside() == 1);
}

TEST_CASE("where no thread can be made, work goes on with those there are") {
  CHECK(exit_code_without_threads([](const auto& forbid_threads) {
          WorkerPool pool(16);
          forbid_threads();
          Gate gate;
          for (int i = 0; i < 200; ++i) {
            if (!pool.submit([&] { gate.pass(); })) {
              return 1;
            }
          }
          gate.wait_inside(1);
          gate.open();
          gate.wait_passed(200);
          return gate.most_inside() == 1 ? 0 : 2;
        }) == 0);
}

TEST_CASE("without any thread work is refused, and not lost") {
  CHECK(exit_code_without_threads([](const auto& forbid_threads) {
          forbid_threads();
          WorkerPool pool(16);
          std::atomic<bool> ran = false;
          const Status refused = pool.submit([&] { ran = true; });
          return !refused && refused.error().errno_value == EAGAIN && !ran ? 0 : 1;
        }) == 0);
  CHECK(exit_code_without_threads([](const auto& forbid_threads) {
          forbid_threads();
          const UniqueFd source = memory_file(std::string(10240, '\0'));
          LayerStream stream(source.get(), Compression::kAuto, nullptr);
          const auto bytes = stream.next(512);
          return !bytes && bytes.error().errno_value == EAGAIN ? 0 : 1;
        }) == 0);
}
