#include <doctest/doctest.h>
#include <linux/mount.h>

#include "core/cgroup_rare_limits.h"
#include "runtime/mount_plan.h"
#include "runtime/oci/cgroup_path.h"
#include "runtime/oci/container.h"
#include "runtime/oci/lifecycle.h"
#include "runtime/oci/options.h"
#include "runtime/oci/passed_fds.h"

using namespace strata;
using namespace strata::runtime;
using namespace strata::runtime::oci;

TEST_CASE("OCI options: both forms, letters, booleans, and what ends them") {
  const std::vector<Option> known = {{"bundle", 'b'}, {"force", 'f', false}, {"env", 'e'}};
  const auto options = Options::parse(known, {"--bundle=/x", "-f", "-e", "A=1", "--env", "B=2", "id"});
  REQUIRE(options);
  CHECK(options->value("bundle") == "/x");
  CHECK(options->has("force"));
  CHECK(options->values("env") == std::vector<std::string>{"A=1", "B=2"});
  CHECK(options->operands() == std::vector<std::string>{"id"});
  CHECK_FALSE(Options::parse(known, {"--force=false", "id"})->has("force"));
  CHECK(Options::parse(known, {"id", "ls", "-f"}, 1)->operands() == std::vector<std::string>{"id", "ls", "-f"});
  CHECK_FALSE(Options::parse(known, {"--what"}));
  CHECK_FALSE(Options::parse(known, {"--bundle"}));
}

TEST_CASE("sockets for activation: taken where they are this process's") {
  CHECK(count_listen_fds("3", "77", 77) == 3);
  CHECK(count_listen_fds("3", nullptr, 77) == 3);
  CHECK(count_listen_fds(nullptr, "77", 77) == 0);
  for (const char* const wrong : {"", "-1", "3x", "0", "99999999999", "65537"}) {
    CHECK(count_listen_fds(wrong, "77", 77) == 0);
  }
  for (const char* const other : {"", "76", "77 ", "-77"}) {
    CHECK(count_listen_fds("3", other, 77) == 0);
  }
}

TEST_CASE("cgroupsPath: plain, absent, and as the systemd driver writes it") {
  CHECK(*cgroup_path_of("", "abc", false) == "/strata-runtime-abc");
  CHECK(*cgroup_path_of("/docker//abc/", "abc", false) == "/docker/abc");
  CHECK(*cgroup_path_of("a/b", "abc", false) == "/a/b");
  CHECK(*cgroup_path_of("system.slice:docker:abc", "abc", true) == "/system.slice/docker-abc.scope");
  CHECK(*cgroup_path_of(":docker:abc", "abc", true) == "/system.slice/docker-abc.scope");
  CHECK(*cgroup_path_of("a-b.slice:p:x", "abc", true) == "/a.slice/a-b.slice/p-x.scope");
  CHECK(*cgroup_path_of("-.slice:p:x", "abc", true) == "/p-x.scope");
  CHECK_FALSE(cgroup_path_of("/a/../../b", "abc", false));
  CHECK_FALSE(cgroup_path_of("/", "abc", false));
  CHECK_FALSE(cgroup_path_of("nothing:p:x", "abc", true));
}

TEST_CASE("signals by name and number, ids") {
  CHECK(*parse_signal("9") == 9);
  CHECK(*parse_signal("term") == 15);
  CHECK(*parse_signal("SIGRTMIN+3") == 37);
  CHECK(*parse_signal("0") == 0);  // as kill(2): only looks whether anybody is there
  for (const char* wrong : {"", "-1", "65", "NOPE", "9x"}) {
    CHECK_FALSE(parse_signal(wrong));
  }
  CHECK(Container::check_id("a_b+c-1.2"));
  for (const char* wrong : {"", ".", "..", "a/b", "a b"}) {
    CHECK_FALSE(Container::check_id(wrong));
  }
}

TEST_CASE("rare limits on both kinds of cgroups") {
  const auto in_v1 = [](std::string_view) { return false; };
  const auto in_v2 = [](std::string_view) { return true; };
  const auto no_file = [](const char*, const std::string&) { return false; };
  const auto bfq = [](const char*, const std::string& file) { return file.find(".bfq.") != std::string::npos; };
  CgroupResources resources;
  resources.block_weight = 500;
  resources.block_leaf_weight = 300;
  resources.block_weights = {{8, 0, 20}};
  resources.block_leaf_weights = {{8, 0, 30}};
  resources.read_bps = {{8, 0, 1000}};
  resources.huge_pages = {{"2MB", 4096}};
  const auto texts = [](const Result<std::vector<LimitWrite>>& writes) {
    std::vector<std::string> lines;
    for (const LimitWrite& write : writes.value()) {
      lines.push_back(write.file + "=" + write.value);
    }
    return lines;
  };
  using Lines = std::vector<std::string>;
  CHECK(texts(plan_rare_writes(resources, in_v1, no_file)) == Lines{"blkio.weight=500", "blkio.weight_device=8:0 20", "blkio.leaf_weight=300", "blkio.leaf_weight_device=8:0 30",
                                                                    "blkio.throttle.read_bps_device=8:0 1000", "hugetlb.2MB.limit_in_bytes=4096", "hugetlb.2MB.rsvd.limit_in_bytes=4096"});
  CHECK(texts(plan_rare_writes(resources, in_v1, bfq))[1] == "blkio.bfq.weight_device=8:0 20");
  CHECK(texts(plan_rare_writes(resources, in_v2, no_file)) == Lines{"io.weight=4950", "io.weight=8:0 102", "io.max=8:0 rbps=1000", "hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"});
  CHECK(texts(plan_rare_writes(resources, in_v2, bfq)) == Lines{"io.bfq.weight=500", "io.bfq.weight=8:0 20", "io.max=8:0 rbps=1000", "hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"});
  CHECK(block_weight_to_io(10) == 1);
  CHECK(block_weight_to_io(1000) == 10000);
  resources.unified = {{"../memory.max", "1"}};
  CHECK_FALSE(plan_rare_writes(resources, in_v2, no_file));
  resources.unified = {{"memory.high", "1"}};
  CHECK(plan_rare_writes(resources, in_v2, no_file));
  CHECK(plan_rare_writes(resources, in_v1, no_file).error().errno_value == ENOTSUP);
}

TEST_CASE("memory and swap together, as v2 can say it") {
  CgroupResources resources;
  resources.memory_swap = 1000;
  CHECK(check_unified_memory(resources, "").error().hint.find("without memory limit") != std::string::npos);
  resources.memory_limit = 2000;
  CHECK(check_unified_memory(resources, "").error().hint.find("should be >=") != std::string::npos);
  resources.memory_swap = 3000;
  CHECK(check_unified_memory(resources, ""));
  CHECK(check_unified_memory(resources, "2000").error().errno_value == EBUSY);
  resources.memory_limit = -1;
  CHECK(plan_resource_writes(resources, true, true, true)[1].value == "3000");
  resources.memory_swap.reset();
  CHECK(check_unified_memory(resources, ""));
  CHECK(plan_resource_writes(resources, true, true, true)[1].value == "max");
  CHECK(plan_resource_writes(resources, false, false, true)[1].value == "-1");
}

TEST_CASE("recursive mount options, and what may not lie below /proc") {
  OciConfig config;
  config.process.args = {"true"};
  config.mounts = {{"/a", "bind", "/x", {"rbind", "rro", "rnosuid", "rsuid"}}};
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK(plan->binds[0].everywhere_set == MOUNT_ATTR_RDONLY);
  CHECK(plan->binds[0].everywhere_cleared == MOUNT_ATTR_NOSUID);
  config.mounts = {{"/proc/self", "tmpfs", "", {}}};
  CHECK_FALSE(build_mount_plan(config, {}));
  config.mounts = {{"/proc/../proc/sys", "bind", "/x", {"bind"}}};
  CHECK_FALSE(build_mount_plan(config, {}));
  config.mounts = {{"/proc/uptime", "bind", "/var/lib/lxcfs/uptime", {"bind"}}};
  CHECK(build_mount_plan(config, {}));
}
