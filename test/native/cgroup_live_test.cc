// On the kernel as it is: v1, v2 or hybrid. Needs root.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "core/cgroup.h"
#include "core/cgroup_figures.h"
#include "core/cgroup_freezer.h"
#include "core/cgroup_limits.h"
#include "core/pseudo_file.h"

using namespace strata;

namespace {

// A process that waits for a byte, then runs `work` and exits with what it says; killed with the test.
class Child {
 public:
  template <typename Work>
  explicit Child(Work work) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      char byte = 0;
      ::close(ends[1]);
      (void)!::read(ends[0], &byte, 1);
      ::_exit(work());
    }
    ::close(ends[0]);
    start_ = ends[1];
  }
  ~Child() {
    ::close(start_);
    if (!waited_) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }
  void start() const { REQUIRE(::write(start_, "x", 1) == 1); }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    waited_ = true;
    return status;
  }

 private:
  pid_t pid_ = 0;
  int start_ = -1;
  bool waited_ = false;
};

std::string test_path(const char* name) { return "/strata-test-" + std::to_string(::getpid()) + "/" + name; }

void clean(const CgroupHost& host) {
  auto parent = Cgroup::open(host, "/strata-test-" + std::to_string(::getpid()));
  REQUIRE(parent);
  const Status destroyed = parent->destroy();
  INFO((destroyed ? std::string() : destroyed.error().message()));
  CHECK(destroyed);
  CHECK(parent->destroy());  // gone already is success
  CHECK_FALSE(Cgroup::open(host, parent->path()));
}

}  // namespace

TEST_CASE("a cgroup's life") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  REQUIRE(host);
  auto cgroup = Cgroup::create(*host, test_path("life"));
  REQUIRE(cgroup);
  Child child([] { return ::pause(); });
  REQUIRE(cgroup->add_process(child.pid()));
  CHECK(*cgroup->processes() == std::vector<pid_t>{child.pid()});

  CgroupLimitsChange change;
  change.memory_max_bytes = 64U << 20;
  change.cpu_quota_us = 20000;
  change.cpu_weight = 321;
  change.pids_max = 7;
  const Status written = write_limits(*cgroup, change);
  INFO((written ? std::string() : written.error().message()));
  REQUIRE(written);
  const auto limits = read_limits(*cgroup);
  CHECK(limits->memory_max_bytes.value_or(0) == 64U << 20);
  CHECK(limits->cpu_quota_us.value_or(0) == 20000);
  CHECK(limits->cpu_weight == 321);
  CHECK(limits->pids_max.value_or(0) == 7);

  CgroupSampler sampler(*host);
  const auto batch = sampler.sample({cgroup->path(), "/strata-test-none"});
  REQUIRE(batch);
  REQUIRE((*batch)[0]);
  CHECK((*batch)[0]->pids == 1);
  CHECK((*batch)[0]->memory_max_bytes.value_or(0) == 64U << 20);
  CHECK_FALSE((*batch)[1]);
  clean(*host);
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
  CHECK_FALSE((*sampler.sample({cgroup->path()}))[0]);
}

TEST_CASE("a process of one thread enters every hierarchy by itself") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  REQUIRE(host);
  auto cgroup = Cgroup::create(*host, test_path("enter"));
  REQUIRE(cgroup);
  Child child([&] { return cgroup->add_process(0) ? ::pause() : 1; });
  child.start();
  const std::string line_end = ":" + cgroup->path();
  const auto hierarchies_entered = [&] {
    const auto text = read_pseudo_file(AT_FDCWD, "/proc/" + std::to_string(child.pid()) + "/cgroup");
    REQUIRE(text);
    std::string_view rest = *text;
    std::string_view line;
    std::size_t count = 0;
    while (next_line(rest, line)) {
      count += line.ends_with(line_end) ? 1 : 0;
    }
    return count;
  };
  for (int i = 0; i < 5000 && hierarchies_entered() < host->hierarchies().size(); ++i) {
    ::usleep(1000);
  }
  CHECK(hierarchies_entered() == host->hierarchies().size());
  CHECK(*cgroup->processes() == std::vector<pid_t>{child.pid()});
  clean(*host);
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
}

TEST_CASE("a refused limit takes back the ones before it") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  auto parent = Cgroup::create(*host, test_path("back"));
  auto cgroup = Cgroup::create(*host, test_path("back/child"));
  REQUIRE(cgroup);
  // What the kernel refuses after the plan was fine: on v1 a share above the parent's, on v2 pids above the type's range.
  CgroupLimitsChange limit_parent;
  limit_parent.cpu_quota_us = 10000;
  REQUIRE(write_limits(*parent, limit_parent));
  CgroupLimitsChange change;
  change.memory_max_bytes = 32U << 20;
  change.cpu_quota_us = 90000;
  change.pids_max = UINT64_MAX / 2;
  const Status written = write_limits(*cgroup, change);
  REQUIRE_FALSE(written);
  CHECK_FALSE(written.error().hint.empty());
  CHECK_FALSE(read_limits(*cgroup)->memory_max_bytes);
  CHECK_FALSE(read_limits(*cgroup)->cpu_quota_us);
  clean(*host);
}

TEST_CASE("memory over the limit is counted as an out-of-memory kill") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  auto cgroup = Cgroup::create(*host, test_path("oom"));
  REQUIRE(cgroup);
  CgroupResources resources;
  resources.memory_limit = 16 << 20;
  resources.memory_swap = 16 << 20;
  REQUIRE(cgroup->apply(resources));
  Child child([] {
    for (size_t i = 0; i < 64; ++i) {
      auto* memory = static_cast<volatile char*>(::malloc(1 << 20));
      for (size_t at = 0; at < 1 << 20; at += 4096) {
        memory[at] = 1;
      }
    }
    return 0;
  });
  REQUIRE(cgroup->add_process(child.pid()));
  child.start();
  const int status = child.wait();
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(cgroup->oom_kills().value_or(0) >= 1);
  const auto peak = cgroup->memory_peak();
  REQUIRE(peak);
  if (*peak) {
    CHECK(**peak > 8U << 20);
    CHECK(**peak <= 17U << 20);
  }
  clean(*host);
}

TEST_CASE("device rules reach the kernel") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  auto cgroup = Cgroup::create(*host, test_path("devices"));
  REQUIRE(cgroup);
  CgroupResources resources;
  resources.devices = {{false, 'a', {}, {}, "rwm"}, {true, 'c', 1, 3, "rw"}};
  for (int round = 0; round < 2; ++round) {  // the second time replaces the first one's program
    const Status applied = cgroup->apply(resources);
    INFO((applied ? std::string() : applied.error().message()));
    REQUIRE(applied);
  }
  Child child([] {
    const int null_ok = ::open("/dev/null", O_RDWR) >= 0 ? 1 : 0;
    const int zero_refused = ::open("/dev/zero", O_RDONLY) < 0 && errno == EPERM ? 2 : 0;
    return null_ok | zero_refused;
  });
  REQUIRE(cgroup->add_process(child.pid()));
  child.start();
  CHECK(WEXITSTATUS(child.wait()) == 3);
  clean(*host);
}

TEST_CASE("destroy outruns a fork bomb and removes what is below") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  auto cgroup = Cgroup::create(*host, test_path("bomb"));
  auto below = Cgroup::create(*host, test_path("bomb/a/b"));
  REQUIRE(below);
  CgroupResources resources;
  resources.pids_limit = 50;
  REQUIRE(cgroup->apply(resources));
  Child child([] {
    for (;;) {
      (void)!::fork();
    }
    return 0;
  });
  REQUIRE(below->add_process(child.pid()));  // v2 keeps processes in the leaves
  child.start();
  for (int i = 0; i < 5000 && cgroup->processes()->size() < 40; ++i) {
    ::usleep(1000);
  }
  CHECK(cgroup->processes()->size() <= 50);
  clean(*host);
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
}

TEST_CASE("what is frozen stands still, and is ended all the same") {
  REQUIRE(::geteuid() == 0);
  const auto host = CgroupHost::probe();
  auto above = Cgroup::create(*host, test_path("frozen"));
  auto cgroup = Cgroup::create(*host, test_path("frozen/below"));
  REQUIRE(cgroup);
  Child child([] { return ::pause(); });
  REQUIRE(cgroup->add_process(child.pid()));
  CHECK_FALSE(is_frozen(*cgroup));
  REQUIRE(set_frozen(*cgroup, true));
  CHECK(is_frozen(*cgroup));
  REQUIRE(set_frozen(*cgroup, true));  // may be repeated
  REQUIRE(set_frozen(*cgroup, false));
  CHECK_FALSE(is_frozen(*cgroup));
  REQUIRE(set_frozen(*above, true));
  CHECK(is_frozen(*cgroup));
  const Status held = set_frozen(*cgroup, false);
  REQUIRE_FALSE(held);
  CHECK(held.error().errno_value == EBUSY);
  REQUIRE(set_frozen(*above, false));
  REQUIRE(set_frozen(*cgroup, true));
  clean(*host);
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
}
