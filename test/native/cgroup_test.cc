#include <doctest/doctest.h>

#include <array>

#include "core/cgroup_devices.h"
#include "core/cgroup_figures.h"
#include "core/cgroup_limits.h"

using namespace strata;

namespace {

// Runs the instructions that compile_device_program emits.
int decide(const std::vector<bpf_insn>& program, uint32_t type, uint32_t access, uint32_t major, uint32_t minor) {
  std::array<uint64_t, 11> reg{};
  const std::array<uint32_t, 3> context{access << 16 | type, major, minor};
  for (size_t at = 0; at < program.size(); ++at) {
    const bpf_insn& step = program[at];
    const auto immediate = static_cast<uint64_t>(static_cast<int64_t>(step.imm));
    switch (step.code) {
      case BPF_LDX | BPF_MEM | BPF_W: reg[step.dst_reg] = context[static_cast<size_t>(step.off) / 4]; break;
      case BPF_ALU64 | BPF_MOV | BPF_X: reg[step.dst_reg] = reg[step.src_reg]; break;
      case BPF_ALU64 | BPF_MOV | BPF_K: reg[step.dst_reg] = immediate; break;
      case BPF_ALU64 | BPF_AND | BPF_K: reg[step.dst_reg] &= immediate; break;
      case BPF_ALU64 | BPF_RSH | BPF_K: reg[step.dst_reg] >>= immediate; break;
      case BPF_JMP | BPF_JNE | BPF_K: at += reg[step.dst_reg] != immediate ? static_cast<size_t>(step.off) : 0; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += reg[step.dst_reg] == immediate ? static_cast<size_t>(step.off) : 0; break;
      case BPF_JMP | BPF_EXIT: return static_cast<int>(reg[0]);
      default: return -1;
    }
  }
  return -2;
}

std::vector<std::string> texts(const std::vector<LimitWrite>& writes) {
  std::vector<std::string> lines;
  for (const LimitWrite& write : writes) {
    lines.push_back(write.file + "=" + write.value);
  }
  return lines;
}

using Lines = std::vector<std::string>;
constexpr uint64_t kMiB = 1 << 20;

LimitContext host_context(bool v2) {
  LimitContext context;
  context.cpu_v2 = context.memory_v2 = v2;
  context.online_cpus = context.parent_cpus = "0-3";
  context.online_mems = context.parent_mems = "0";
  return context;
}

}  // namespace

TEST_CASE("hierarchies are read from mountinfo") {
  const char* hybrid =
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/mem\\040ory rw,relatime - cgroup cgroup rw,memory,release_agent=/x\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
      "99 31 0:29 / /copy rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
  const auto host = CgroupHost::parse(hybrid, "hugetlb\n");
  REQUIRE(host);
  CHECK(host->mode() == CgroupMode::kHybrid);
  CHECK(host->hierarchies().size() == 4);
  CHECK(host->hierarchies()[static_cast<size_t>(host->find("memory"))].mount_point == "/sys/fs/cgroup/mem ory");
  CHECK(host->find("cpu") == host->find("cpuacct"));
  CHECK(host->unified() == 3);
  CHECK(host->controllers() == Lines{"cpu", "cpuacct", "hugetlb", "memory"});
  CHECK(CgroupHost::parse("1 1 0:1 / /c rw - cgroup2 none rw\n", "cpu io memory\n")->mode() == CgroupMode::kV2);
  CHECK(CgroupHost::parse("1 1 0:1 / /c rw - cgroup none rw,pids\n", "")->mode() == CgroupMode::kV1);
  CHECK(CgroupHost::parse("1 1 0:1 / /u rw - cgroup2 none rw\n1 1 0:1 / /c rw - cgroup none rw,name=systemd\n", "cpu")->mode() == CgroupMode::kV2);
  CHECK_FALSE(CgroupHost::parse("", ""));
}

TEST_CASE("cgroup paths") {
  CHECK(check_cgroup_path("/strata/abc"));
  for (const char* bad : {"", "/", "strata", "/strata/", "/strata//a", "/strata/../a", "/./a", "/a\nb"}) {
    CHECK_FALSE(check_cgroup_path(bad));
  }
}

TEST_CASE("weights survive the way through v1 shares") {
  for (uint64_t weight = 1; weight <= 10000; ++weight) {
    REQUIRE(shares_to_weight(weight_to_shares(weight)) == weight);
  }
  CHECK(shares_to_weight(1024) == 39);  // what runc and crun make of Docker's default
  CHECK(weight_to_shares(1) == 2);
  CHECK(weight_to_shares(10000) == 262144);
}

TEST_CASE("cpu lists") {
  CHECK(*parse_cpu_list("0-2,5\n") == std::vector<uint32_t>{0, 1, 2, 5});
  for (const char* bad : {"a", "1-", "-1", "3-1", "1,,2", "1,", "0-9999999"}) {
    CHECK_FALSE(parse_cpu_list(bad));
  }
}

TEST_CASE("v1 memory: the sum goes up first and comes down last") {
  LimitContext context = host_context(false);
  CgroupLimitsChange change;
  change.memory_max_bytes = 64 * kMiB;
  change.memory_swap_max_bytes = 128 * kMiB;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=134217728"});
  context.present.memory_max_bytes = 32 * kMiB;
  context.present.memory_swap_max_bytes = 32 * kMiB;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"memory.memsw.limit_in_bytes=134217728", "memory.limit_in_bytes=67108864"});
  CgroupLimitsChange lift;
  lift.memory_max_bytes = std::optional<uint64_t>();
  CHECK(texts(*plan_limit_writes(context, lift)) == Lines{"memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"});
}

TEST_CASE("v2 memory: swap is the rest of the sum") {
  LimitContext context = host_context(true);
  context.present.memory_max_bytes = 32 * kMiB;
  context.present.memory_swap_max_bytes = 96 * kMiB;
  CgroupLimitsChange change;
  change.memory_max_bytes = 64 * kMiB;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"memory.max=67108864", "memory.swap.max=33554432"});
}

TEST_CASE("limits that make no sense are refused with words") {
  LimitContext context = host_context(true);
  context.memory_in_use_bytes = 50 * kMiB;
  const auto refused = [&](const CgroupLimitsChange& change) {
    const auto planned = plan_limit_writes(context, change);
    return planned ? 0 : planned.error().hint.empty() ? -1 : planned.error().errno_value;
  };
  CgroupLimitsChange change;
  change.memory_max_bytes = 10 * kMiB;
  CHECK(refused(change) == EBUSY);
  change = {};
  change.memory_swap_max_bytes = 10 * kMiB;
  CHECK(refused(change) == EINVAL);
  change = {};
  change.cpu_quota_us = 999;
  CHECK(refused(change) == EINVAL);
  change = {};
  change.cpu_period_us = 1000001;
  CHECK(refused(change) == EINVAL);
  change = {};
  change.cpuset_cpus = std::optional<std::string>("2-4");
  CHECK(refused(change) == ERANGE);
  change = {};
  change.pids_max = 0;
  CHECK(refused(change) == EINVAL);
  context.has_pids = false;
  change.pids_max = 5;
  CHECK(refused(change) == ENOTSUP);
}

TEST_CASE("v1 quota and period never exceed the parent's share in between") {
  LimitContext context = host_context(false);
  CgroupLimitsChange change;
  change.cpu_quota_us = 5000;
  change.cpu_period_us = 10000;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"cpu.cfs_quota_us=5000", "cpu.cfs_period_us=10000"});
  change.cpu_period_us = 200000;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"cpu.cfs_period_us=200000", "cpu.cfs_quota_us=5000"});
  context.cpu_v2 = true;
  CHECK(texts(*plan_limit_writes(context, change)) == Lines{"cpu.max=5000 200000"});
}

TEST_CASE("OCI resources in both versions' terms") {
  CgroupResources resources;
  resources.cpu_quota_us = 20000;
  resources.cpu_shares = 1024;
  resources.memory_limit = 64 * kMiB;
  resources.memory_swap = 96 * kMiB;
  resources.pids_limit = 10;
  CHECK(texts(plan_resource_writes(resources, true, true, true)) ==
        Lines{"cpu.max=20000 100000", "cpu.weight=39", "memory.max=67108864", "memory.swap.max=33554432", "pids.max=10"});
  CHECK(texts(plan_resource_writes(resources, false, false, false)) ==
        Lines{"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=20000", "cpu.shares=1024", "memory.limit_in_bytes=67108864", "pids.max=10"});
}

TEST_CASE("device rules: the last one that names an access decides") {
  using Rule = CgroupResources::DeviceRule;
  const std::vector<Rule> rules{{false, 'a', {}, {}, "rwm"}, {true, 'c', 1, 3, "rwm"}, {true, 'c', 5, {}, "r"}, {true, 'c', 5, {}, "w"},
                                {true, 'b', {}, {}, "m"},    {false, 'c', 5, 2, "w"}};
  const auto program = compile_device_program(rules);
  constexpr uint32_t r = BPF_DEVCG_ACC_READ, w = BPF_DEVCG_ACC_WRITE, m = BPF_DEVCG_ACC_MKNOD, c = BPF_DEVCG_DEV_CHAR, b = BPF_DEVCG_DEV_BLOCK;
  CHECK(decide(program, c, r | w | m, 1, 3) == 1);
  CHECK(decide(program, c, r, 1, 5) == 0);
  CHECK(decide(program, b, r, 1, 3) == 0);
  CHECK(decide(program, c, r | w, 5, 1) == 1);  // from two rules together
  CHECK(decide(program, c, m, 5, 1) == 0);
  CHECK(decide(program, c, r, 5, 2) == 1);
  CHECK(decide(program, c, w, 5, 2) == 0);
  CHECK(decide(program, c, r | w, 5, 2) == 0);
  CHECK(decide(program, b, m, 8, 0) == 1);
  CHECK(decide(program, b, m | r, 8, 0) == 0);
  CHECK(decide(compile_device_program({}), c, r, 1, 3) == 0);
  CHECK(decide(compile_device_program({{true, 'a', {}, {}, ""}}), b, r | w | m, 8, 1) == 1);
  const auto commands = v1_device_commands(rules);
  REQUIRE(commands.size() == 6);
  CHECK(commands[0].text == "a");
  CHECK_FALSE(commands[0].allow);
  CHECK(commands[2].text == "c 5:* r");
}

TEST_CASE("figures of both versions") {
  CgroupFigures figures;
  figures.memory_usage_bytes = 1000;
  parse_memory_stat_v1("cache 1\nrss 2\ntotal_cache 300\ntotal_rss 400\ntotal_swap 5\ntotal_inactive_file 250\n", figures);
  CHECK(figures.memory_bytes == 750);
  CHECK(figures.memory_anon_bytes == 400);
  CHECK(figures.memory_file_bytes == 300);
  CHECK(figures.swap_bytes.value_or(0) == 5);
  parse_memory_stat_v2("anon 10\nfile 20\ninactive_anon 7\ninactive_file 2000\n", figures);
  CHECK(figures.memory_bytes == 0);  // never below zero
  CHECK(figures.memory_anon_bytes == 10);
  parse_cpu_stat_v1("nr_periods 7\nnr_throttled 3\nthrottled_time 5000000\n", figures);
  CHECK(figures.throttled_us == 5000);
  parse_cpu_stat_v2("usage_usec 9\nuser_usec 4\nsystem_usec 5\nnr_periods 1\nnr_throttled 0\nthrottled_usec 2\n", figures);
  CHECK(figures.cpu_usage_us == 9);
  CHECK(figures.throttled_us == 2);
  parse_io_v1("254:0 Read 4096\n254:0 Write 1\n254:0 Total 4097\n7:0 Read 4\nTotal 4101\n", figures);
  CHECK(figures.io_read_bytes == 4100);
  figures.io_read_bytes = figures.io_write_bytes = 0;
  parse_io_v2("254:0 rbytes=4096 wbytes=3 rios=1 wios=1 dbytes=0 dios=0\n7:0 rbytes=1 wbytes=1\n8:0 \n", figures);
  CHECK(figures.io_read_bytes == 4097);
  CHECK(figures.io_write_bytes == 4);
}
