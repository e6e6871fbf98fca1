#include <dirent.h>
#include <doctest/doctest.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "core/path.h"
#include "fake_sys.h"
#include "runtime/mount_plan.h"
#include "runtime/rootfs.h"

using namespace strata;
using namespace strata::runtime;
using strata::test::FakeSys;

namespace {

OciConfig config_with(std::vector<OciMount> mounts) {
  OciConfig config;
  config.process.args = {"true"};
  config.mounts = std::move(mounts);
  return config;
}

const MountStep* find(const MountPlan& plan, MountStep::Kind kind, const std::string& target) {
  const auto found = std::find_if(plan.steps.begin(), plan.steps.end(), [&](const MountStep& step) { return step.kind == kind && step.target == target; });
  return found == plan.steps.end() ? nullptr : &*found;
}

std::size_t position(const MountPlan& plan, MountStep::Kind kind, const std::string& target) { return static_cast<std::size_t>(find(plan, kind, target) - plan.steps.data()); }

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) {
    ++count;
  }
  ::closedir(directory);
  return count;
}

}  // namespace

TEST_CASE("options become flags and data") {
  const auto plan = build_mount_plan(config_with({{"/tmp/", "tmpfs", "", {"nosuid", "ro", "rw", "noexec", "size=1m", "mode=755"}}}), {});
  REQUIRE(plan);
  const MountStep* const step = find(*plan, MountStep::Kind::kFilesystem, "/tmp");
  REQUIRE(step);
  CHECK(step->flags == (MS_NOSUID | MS_NOEXEC));
  CHECK(step->data == "size=1m,mode=755");
}

TEST_CASE("a read-only /dev is made read-only after everything that is made in it") {
  OciConfig config = config_with({{"/dev", "tmpfs", "tmpfs", {"ro", "mode=755"}}, {"/dev/shm", "tmpfs", "shm", {}}});
  config.process.terminal = true;
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK((plan->steps.front().flags & MS_RDONLY) == 0);
  const MountStep& last = plan->steps.back();
  CHECK((last.kind == MountStep::Kind::kReadOnlyMount && last.target == "/dev"));
  const MountStep& console = plan->steps[plan->steps.size() - 2];
  CHECK((console.kind == MountStep::Kind::kNode && console.target == "/dev/console"));  // what the terminal is bound to
}

TEST_CASE("binds are private unless they say otherwise, and refuse options that mean nothing") {
  const auto plan = build_mount_plan(config_with({{"/a", "bind", "/x", {"rbind", "ro", "nosuid"}}, {"/b", "bind", "/y", {"bind", "rslave"}}}), {});
  REQUIRE(plan);
  REQUIRE(plan->binds.size() == 2);
  CHECK(plan->binds[0].recursive);
  CHECK(plan->binds[0].attributes == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
  CHECK(plan->binds[0].propagation == MS_PRIVATE);
  CHECK(plan->binds[1].propagation == MS_SLAVE);
  CHECK_FALSE(plan->binds[1].recursive);
  CHECK(build_mount_plan(config_with({{"/a", "bind", "/x", {"bind", "size=1m", "mode=755"}}}), {}));
  const auto refused = build_mount_plan(config_with({{"/a", "bind", "/x", {"bind", "size=1m", "rroo"}}}), {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kInvalidRequest);
  CHECK_FALSE(build_mount_plan(config_with({{"/a", "bind", "/x", {"idmap"}}}), {}));
  CHECK_FALSE(build_mount_plan(config_with({{"/x/..", "tmpfs", "", {}}}), {}));
}

TEST_CASE("devices follow the mount on /dev, and are binds in a user namespace") {
  const auto config = config_with({{"/proc", "proc", "proc", {}}, {"/dev", "tmpfs", "tmpfs", {}}, {"/dev/pts", "devpts", "devpts", {}}});
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK(position(*plan, MountStep::Kind::kFilesystem, "/dev") < position(*plan, MountStep::Kind::kNode, "/dev/null"));
  CHECK(position(*plan, MountStep::Kind::kNode, "/dev/null") < position(*plan, MountStep::Kind::kFilesystem, "/dev/pts"));
  const auto mapped = build_mount_plan(config, {.user_namespace = true});
  REQUIRE(mapped);
  CHECK(find(*mapped, MountStep::Kind::kNode, "/dev/null") == nullptr);
  REQUIRE(find(*mapped, MountStep::Kind::kBind, "/dev/null"));
  CHECK(mapped->binds.size() == 6);
  CHECK(find(*mapped, MountStep::Kind::kLink, "/dev/fd"));
}

TEST_CASE("a sysfs is the host's where a user namespace shares the network") {
  const auto config = config_with({{"/sys", "sysfs", "sysfs", {"ro", "nosuid"}}});
  const auto shared = build_mount_plan(config, {.user_namespace = true, .host_network = true});
  REQUIRE(shared);
  REQUIRE(find(*shared, MountStep::Kind::kBind, "/sys"));
  CHECK(shared->binds.front().path == "/sys");
  CHECK(shared->binds.front().recursive);
  CHECK(shared->binds.front().attributes == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
  for (const PlanFacts& facts : {PlanFacts{.user_namespace = true}, PlanFacts{.host_network = true}}) {
    const auto own = build_mount_plan(config, facts);
    REQUIRE(own);
    CHECK(find(*own, MountStep::Kind::kFilesystem, "/sys"));
  }
}

TEST_CASE("a container without a cgroup has an empty place for it, one with the host's view of them is refused") {
  const auto config = config_with({{"/sys/fs/cgroup", "cgroup", "cgroup", {"ro"}}});
  const auto plan = build_mount_plan(config, {.cgroup_namespace = false, .without_cgroup = true});
  REQUIRE(plan);
  CHECK(find(*plan, MountStep::Kind::kFilesystem, "/sys/fs/cgroup")->type == "tmpfs");
  CHECK_FALSE(build_mount_plan(config, {.cgroup_namespace = false}));
}

TEST_CASE("the root follows the host's mounts unless the config cuts it off") {
  OciConfig config;
  for (const auto& [propagation, source] : {std::pair("", MS_SLAVE), {"rslave", MS_SLAVE}, {"private", MS_PRIVATE}, {"rshared", MS_PRIVATE}, {"unbindable", MS_PRIVATE}}) {
    config.rootfs_propagation = propagation;
    const auto plan = build_mount_plan(config, {});
    REQUIRE(plan);
    CHECK(plan->root_source_propagation == static_cast<unsigned long>(source));
  }
}

TEST_CASE("cgroups: one tree on v2, a directory a hierarchy on hybrid") {
  const auto hybrid = CgroupHost::parse(
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "33 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "34 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "");
  REQUIRE(hybrid);
  const auto config = config_with({{"/sys/fs/cgroup", "cgroup", "cgroup", {"ro"}}});
  const auto plan = build_mount_plan(config, {.cgroups = &*hybrid});
  REQUIRE(plan);
  const MountStep* const tree = find(*plan, MountStep::Kind::kFilesystem, "/sys/fs/cgroup");
  REQUIRE(tree);
  CHECK(tree->type == "tmpfs");
  CHECK((tree->flags & MS_RDONLY) == 0);
  REQUIRE(find(*plan, MountStep::Kind::kFilesystem, "/sys/fs/cgroup/systemd"));
  CHECK(find(*plan, MountStep::Kind::kFilesystem, "/sys/fs/cgroup/systemd")->data == "none,name=systemd");
  CHECK(position(*plan, MountStep::Kind::kFilesystem, "/sys/fs/cgroup/unified") < position(*plan, MountStep::Kind::kReadOnlyMount, "/sys/fs/cgroup"));
  const auto unified = CgroupHost::parse("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "cpu memory pids\n");
  REQUIRE(unified);
  const auto v2 = build_mount_plan(config, {.cgroups = &*unified});
  REQUIRE(v2);
  CHECK(find(*v2, MountStep::Kind::kFilesystem, "/sys/fs/cgroup")->type == "cgroup2");
}

TEST_CASE("a sysctl's name: the separator that comes first is the one") {
  OciConfig config = config_with({});
  config.sysctl = {{"net.ipv4.conf.eth0/100.forwarding", "1"}, {"net/ipv4/conf/eth0.200/forwarding", "1"}};
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK(find(*plan, MountStep::Kind::kSysctl, "/proc/sys/net/ipv4/conf/eth0.100/forwarding"));
  CHECK(find(*plan, MountStep::Kind::kSysctl, "/proc/sys/net/ipv4/conf/eth0.200/forwarding"));
  for (const char* const wrong : {"net./.x", "net/../kernel/x", ".net.x", "/net/x", "net.", ""}) {
    config.sysctl = {{wrong, "1"}};
    CHECK_FALSE(build_mount_plan(config, {}));
  }
}

TEST_CASE("the working directory is made before the root becomes read-only, with the devices of a user namespace checked") {
  OciConfig config = config_with({});
  config.process.cwd = "/a/b";
  config.root_read_only = true;
  config.devices = {{"/dev/fuse", S_IFCHR, 0666, 10, 229, 0, 0}, {"/dev/fifo", S_IFIFO, 0666, 0, 0, 0, 0}};
  const auto plan = build_mount_plan(config, {.user_namespace = true});
  REQUIRE(plan);
  CHECK(position(*plan, MountStep::Kind::kWorkingDirectory, "/a/b") < position(*plan, MountStep::Kind::kReadOnlyRoot, "/"));
  REQUIRE(plan->binds.size() == 7);
  CHECK(plan->binds[0].device == makedev(1, 3));
  CHECK(plan->binds[6].device_type == S_IFCHR);
  CHECK(plan->binds[6].device == makedev(10, 229));
}

TEST_CASE("sysctls of the host are refused") {
  OciConfig config = config_with({});
  config.sysctl = {{"net.ipv4.ip_forward", "1"}};
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK(find(*plan, MountStep::Kind::kSysctl, "/proc/sys/net/ipv4/ip_forward"));
  for (const char* name : {"kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", ""}) {
    config.sysctl = {{name, "1"}};
    CHECK_FALSE(build_mount_plan(config, {}));
  }
}

TEST_CASE("mount points are made below the root, every name resolved in it") {
  FakeSys sys;
  sys.absent = {"/a", "/a/b"};
  const UniqueFd root = sys.descriptor("");
  auto made = open_or_make_directory(sys, root.get(), "/a/b");
  REQUIRE(made);
  CHECK(sys.calls == std::vector<std::string>{"open /a/b in-root", "open /a in-root", "open / in-root", "mkdir //a", "open //a in-root", "mkdir //a/b", "open //a/b in-root"});
}

TEST_CASE("a step that fails ends the plan, names the target and leaks no descriptor") {
  OciConfig config = config_with({{"/proc", "proc", "proc", {}}, {"/dev", "tmpfs", "tmpfs", {}}, {"/mnt", "bind", "/x", {"bind"}}});
  config.masked_paths = {"/proc/kcore"};
  config.read_only_paths = {"/proc/sys"};
  config.root_read_only = true;
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  std::size_t steps = 0;
  {
    FakeSys sys;
    sys.kinds["/proc/kcore"] = S_IFREG;
    sys.kinds["/dev/null"] = S_IFCHR;
    const UniqueFd root = sys.descriptor("");
    std::vector<UniqueFd> binds;
    binds.push_back(sys.descriptor("bind"));
    REQUIRE(apply_mount_plan(sys, root.get(), *plan, binds));
    steps = sys.calls.size();
    CHECK(std::find(sys.calls.begin(), sys.calls.end(), "attach clone:/dev/null /proc/kcore") != sys.calls.end());
    CHECK(std::find(sys.calls.begin(), sys.calls.end(), "attach bind /mnt") != sys.calls.end());
  }
  const std::size_t before = open_descriptors();
  for (std::size_t step = 0; step < steps; ++step) {
    FakeSys sys;
    sys.kinds["/proc/kcore"] = S_IFREG;
    sys.kinds["/dev/null"] = S_IFCHR;
    sys.fail_at = static_cast<int>(step);
    const UniqueFd root = sys.descriptor("");
    std::vector<UniqueFd> binds;
    binds.push_back(sys.descriptor("bind"));
    const auto done = apply_mount_plan(sys, root.get(), *plan, binds);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == ErrorCode::kMountFailed);
    CHECK(done.error().error.errno_value == EIO);
    CHECK_FALSE(done.error().path.empty());
    CHECK(sys.calls.size() == step + 1);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("what is below /proc is looked up below the procfs that was mounted there") {
  OciConfig config = config_with({{"/proc", "proc", "proc", {}}});
  config.sysctl = {{"net.ipv4.ip_forward", "1"}};
  config.masked_paths = {"/proc/acpi"};
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  FakeSys sys;
  const UniqueFd root = sys.descriptor("");
  REQUIRE(apply_mount_plan(sys, root.get(), *plan, {}));
  CHECK(std::find(sys.calls.begin(), sys.calls.end(), "write sys/net/ipv4/ip_forward 1") != sys.calls.end());
  CHECK(std::find(sys.calls.begin(), sys.calls.end(), "open /proc/acpi in-root") != sys.calls.end());
  FakeSys replaced;
  replaced.file_systems["/proc"] = 0x01021994;
  CHECK(apply_mount_plan(replaced, replaced.descriptor("").get(), *plan, {}).error().error.errno_value == ENODEV);
  config.mounts.clear();
  const auto without = build_mount_plan(config, {});
  REQUIRE(without);
  FakeSys files;
  CHECK(apply_mount_plan(files, files.descriptor("").get(), *without, {}).error().error.errno_value == ENOENT);
}

TEST_CASE("no volume gets into /proc by a link, no other file system stands in for it") {
  const auto linked = build_mount_plan(config_with({{"/proc", "proc", "proc", {}}, {"/innocent/attr", "tmpfs", "tmpfs", {}}}), {});
  REQUIRE(linked);
  FakeSys sys;
  sys.file_systems["/innocent/attr"] = 0x9fa0;
  const UniqueFd root = sys.descriptor("");
  REQUIRE(apply_mount_plan(sys, root.get(), *linked, {}));  // no link on the way: what the config says
  sys.calls.clear();
  sys.refused["open /innocent/attr in-root no-symlinks"] = ELOOP;
  CHECK(apply_mount_plan(sys, root.get(), *linked, {}).error().error.errno_value == ELOOP);
  CHECK_FALSE(build_mount_plan(config_with({{"/proc", "tmpfs", "tmpfs", {}}}), {}));
  for (const char* target : {"/proc", "/proc/self/attr"}) {
    const auto bound = build_mount_plan(config_with({{target, "bind", "/proc/../etc", {"bind"}}}), {});
    REQUIRE(bound);
    FakeSys other;
    std::vector<UniqueFd> binds;
    binds.push_back(other.descriptor("bind"));
    CHECK(apply_mount_plan(other, other.descriptor("").get(), *bound, binds).error().error.errno_value == EPERM);
  }
}

TEST_CASE("a device that is there already must be the one that is asked for") {
  const auto plan = build_mount_plan(config_with({{"/proc", "proc", "proc", {}}}), {});
  REQUIRE(plan);
  for (const auto& [kind, works] : {std::pair<mode_t, bool>{S_IFCHR, true}, {S_IFREG, false}, {S_IFLNK, false}}) {
    FakeSys sys;
    sys.refused["mknod /dev/null"] = EEXIST;
    sys.kinds["/dev/null"] = kind;
    const auto done = apply_mount_plan(sys, sys.descriptor("").get(), *plan, {});
    CHECK(done.has_value() == works);
  }
}

TEST_CASE("a full disk is said as such") {
  FakeSys sys;
  sys.absent = {"/data"};
  sys.fail_at = 2;
  sys.fail_with = ENOSPC;
  const UniqueFd root = sys.descriptor("");
  const auto plan = build_mount_plan(config_with({{"/data", "tmpfs", "tmpfs", {}}, {"/dev", "tmpfs", "tmpfs", {}}}), {});
  const auto done = apply_mount_plan(sys, root.get(), *plan, {});
  REQUIRE_FALSE(done);
  CHECK(done.error().code == ErrorCode::kNoSpace);
}
