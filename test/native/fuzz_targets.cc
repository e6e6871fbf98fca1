#include "fuzz_targets.h"

#include <sys/socket.h>

#include "core/cgroup_devices.h"
#include "core/cgroup_limits.h"
#include "core/cgroup_rare_limits.h"
#include "core/layer_stream.h"
#include "core/tar_reader.h"
#include "core/tree_extract.h"
#include "fake_sys.h"
#include "runtime/archive.h"
#include "runtime/channel.h"
#include "runtime/control_server.h"
#include "runtime/init.h"
#include "runtime/json.h"
#include "runtime/mount_plan.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/cgroup_path.h"
#include "runtime/oci/criu_log.h"
#include "runtime/oci/criu_rpc.h"
#include "runtime/oci/namespaces.h"
#include "runtime/requests.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp.h"
#include "runtime/user_lookup.h"
#include "tar_fixture.h"

namespace strata::test {
namespace {

using namespace strata::runtime;

constexpr char kConfig[] = R"({"ociVersion":"1.2.0","process":{"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":0,"gid":0,"umask":18,"additionalGids":[5,6]},
"args":["sh","-c","true"],"env":["PATH=/bin","A=b"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"],"inheritable":[],"ambient":["CAP_KILL"]},
"rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":1024}],"noNewPrivileges":true,"oomScoreAdj":100,"apparmorProfile":"x","selinuxLabel":"y",
"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4},"scheduler":{"policy":"SCHED_OTHER","nice":1,"flags":["SCHED_FLAG_RESET_ON_FORK"]}},
"root":{"path":"rootfs","readonly":true},"hostname":"h","domainname":"d","mounts":[{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=65536k"]},{"destination":"/data","source":"/x","options":["rbind","ro","rslave"]},
{"destination":"/m","type":"bind","source":"/y","options":["bind","idmap"],"uidMappings":[{"containerID":0,"hostID":1000,"size":1}],"gidMappings":[{"containerID":0,"hostID":1000,"size":1}]},
{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]},{"destination":"/etc","type":"tmpfs","options":["tmpcopyup"]}],
"hooks":{"prestart":[{"path":"/bin/x","args":["x"],"env":["A=b"],"timeout":3}],"poststop":[]},"annotations":{"a":"b"},
"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"},{"type":"mount"},{"type":"user"},{"type":"time"},{"type":"cgroup"}],
"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"timeOffsets":{"monotonic":{"secs":1,"nanosecs":2}},
"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":0,"gid":0},{"path":"/dev/p","type":"p"}],"cgroupsPath":"/a/b","sysctl":{"net.ipv4.ip_forward":"1"},
"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}],"memory":{"limit":1000000,"swap":2000000,"reservation":5},"pids":{"limit":10},
"cpu":{"shares":1024,"quota":100000,"period":100000,"cpus":"0-1","mems":"0"},"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}]},
"hugepageLimits":[{"pageSize":"2MB","limit":4096}],"network":{"classID":1,"priorities":[{"name":"eth0","priority":5}]},"rdma":{"mlx5_1":{"hcaHandles":3}},"unified":{"memory.high":"1"}},
"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/s","listenerMetadata":"m",
"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]},
"rootfsPropagation":"rslave","maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],"personality":{"domain":"LINUX"},"intelRdt":{"closID":"x"}}})";

std::string process_of(const std::string& config) {
  const std::size_t from = config.find("\"process\":") + 10;
  return config.substr(from, config.find(",\n\"root\"") - from);
}

std::vector<std::string> config_seeds() { return {kConfig}; }
std::vector<std::string> process_seeds() { return {process_of(kConfig)}; }
std::vector<std::string> request_seeds() {
  return {R"({"config":)" + std::string(kConfig) +
              R"(,"overlay":{"lower":["/l1","/l2"],"upper":"/u/upper","work":"/u/work","volatile":true},"log":"/log","exit":{"path":"/exit","durable":true},"openStdin":true,)"
              R"("consoleSize":{"columns":80,"rows":24},"seccompProgram":"/p"})",
          R"({"process":)" + process_of(kConfig) + R"(,"attachStdin":true,"consoleSize":{"columns":80,"rows":24}})"};
}

void apply_plan(const OciConfig& config, const PlanFacts& facts) {
  const auto plan = build_mount_plan(config, facts);
  if (!plan) {
    return;
  }
  FakeSys sys;
  std::vector<UniqueFd> binds;
  for (std::size_t i = 0; i < std::min<std::size_t>(plan->binds.size(), 32); ++i) {
    binds.push_back(sys.descriptor("bind"));
  }
  static_cast<void>(apply_mount_plan(sys, sys.descriptor("").get(), *plan, binds));
}

bool config(std::string_view input) {
  const auto bundle = oci::read_config_of(std::string(input), "/bundle");
  if (!bundle) {
    return false;
  }
  static_cast<void>(oci::check_namespaces(bundle->config));
  static_cast<void>(oci::cgroup_path_of(bundle->config.cgroups_path, "id", true));
  static_cast<void>(oci::cgroup_path_of(bundle->config.cgroups_path, "id", false));
  static_cast<void>(bundle->annotations());
  static const auto hybrid = CgroupHost::parse("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n34 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "");
  apply_plan(bundle->config, {.user_namespace = true, .cgroups = &*hybrid});
  apply_plan(bundle->config, {.cgroup_namespace = false, .cgroups = &*hybrid, .cgroup_path = "/a"});
  const CgroupResources& resources = bundle->config.resources;
  static_cast<void>(compile_device_program(resources.devices));
  static_cast<void>(v1_device_commands(resources.devices));
  for (const bool v2 : {false, true}) {
    static_cast<void>(plan_resource_writes(resources, v2, v2, true));
    static_cast<void>(plan_rare_writes(resources, [v2](std::string_view) { return v2; }, [v2](const char*, const std::string&) { return v2; }));
  }
  return true;
}

bool seccomp(std::string_view input) {
  const auto document = JsonDocument::parse(input);
  if (!document) {
    return false;
  }
  static_cast<void>(read_seccomp_extras(document->root()));
  const UniqueFd program = memory_file("");
  return compile_seccomp(document->root(), program.get()).has_value();
}
std::vector<std::string> seccomp_seeds() {
  const std::string text = kConfig;
  const std::size_t from = text.find("\"seccomp\":") + 10;
  return {text.substr(from, text.find(",\n\"rootfsPropagation\"") - from)};
}

bool process(std::string_view input) {
  const auto document = JsonDocument::parse(input);
  if (!document) {
    return false;
  }
  const auto read = read_process(document->root());
  if (read) {
    static_cast<void>(resolve_user(*read, "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n"));
  }
  return read.has_value();
}

bool request(std::string_view input) {
  const auto document = JsonDocument::parse(input);
  if (!document) {
    return false;
  }
  const auto create = read_create_params(document->root());
  if (create) {
    apply_plan(create->config, {.user_namespace = create->config.makes_namespace("user")});
  }
  return read_exec_params(document->root()).has_value() || create.has_value();
}

bool frames(std::string_view input) {
  std::size_t at = 0;
  Frame frame;
  while (parse_frame(input.substr(at), frame) == FrameParse::kFrame) {
    at += kFrameHeader + frame.payload.size();
  }
  return at == input.size();
}
std::vector<std::string> frame_seeds() {
  return {encode_frame_header(FrameType::kRequest, 0, 2) + "{}" + encode_frame_header(FrameType::kStdin, 7, 5) + "hello" + encode_frame_header(FrameType::kCredit, 7, 4) + std::string(4, '\1'),
          encode_frame_header(FrameType::kStdin, 1, 0)};
}

bool channel(std::string_view input) {
  auto ends = Channel::make_pair();
  if (!ends) {
    return false;
  }
  static_cast<void>(::send(ends->first.fd(), input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  ends->first.close();
  while (true) {
    auto message = ends->second.receive();
    if (!message || !*message) {
      return message.has_value();
    }
    static_cast<void>(decode_failure(**message));
    static_cast<void>(CreateOrder::decode((*message)->text));
  }
}
std::vector<std::string> channel_seeds() {
  return {"\x08" + encode_failure(Failure(ErrorCode::kMountFailed, Error{5, "mount", "hint"}, "/path")), "\x03" "cs", "\x01"};
}

std::vector<std::string> tar_seeds() {
  const std::string sparse = TarBuilder::record("GNU.sparse.major", "1") + TarBuilder::record("GNU.sparse.minor", "0") + TarBuilder::record("GNU.sparse.realsize", "2048") +
                             TarBuilder::record("SCHILY.xattr.user.a", "b") + TarBuilder::record("mtime", "17.5");
  TarBuilder tar;
  tar.add({.name = "dir/", .type = '5', .mode = 0755}).add({.name = "dir/file", .data = "hello"}).add({.name = "dir/link", .type = '2', .link = "../x"});
  tar.add({.name = "dir/hard", .type = '1', .link = "dir/file"}).add({.name = "dir/.wh.gone"}).add({.name = "dir/.wh..wh..opq"}).add({.name = "fifo", .type = '6'});
  tar.pax(TarBuilder::record("path", "a/long/name") + TarBuilder::record("size", "3")).add({.name = "short", .data = "abc"});
  tar.pax(sparse).add({.name = "sparse", .data = "1\n512\n4\n" + std::string(504, '\0') + "data"});
  tar.add({.name = "././@LongLink", .type = 'L', .data = std::string(150, 'n') + std::string(1, '\0')}).add({.name = "n"});
  return {tar.bytes()};
}

bool tar(std::string_view input) {
  const UniqueFd source = memory_file(std::string(input));
  LayerStream stream(source.get(), Compression::kAuto, nullptr);
  TarReader reader(stream);
  while (true) {
    const auto entry = reader.next();
    if (!entry || !*entry) {
      return entry.has_value();
    }
    const auto data = reader.data();
    if (!data) {
      return false;
    }
  }
}

bool layer(std::string_view input) {
  const TempDirectory place;
  static_cast<void>(::mkdir((place / "layer").c_str(), 0755));
  const auto applied = unpack(std::string(input), place / "layer", {.max_entries = 100, .max_bytes = 1 << 20, .max_size_bytes = 1 << 22});
  // Nothing lands outside.
  const UniqueFd outside(::open(place.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status {};
  if (::fstat(outside.get(), &status) != 0 || status.st_nlink != 3 || exists(place / "x")) {
    __builtin_trap();
  }
  return applied.has_value();
}

bool copy(std::string_view input) {
  const TempDirectory place;
  for (const char* path : {"root", "root/in"}) {
    static_cast<void>(::mkdir((place / path).c_str(), 0755));
  }
  const UniqueFd source = memory_file(std::string(input));
  const UniqueFd root(::open((place / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto extracted = extract_archive(source.get(), root.get(), "/in", {.keeps_owners = true, .most_memory = 1 << 20});
  // Nothing lands outside of the directory, nor of the root.
  if (status_of(place.path()).st_nlink != 3 || status_of(place / "root").st_nlink != 3 || exists(place / "root/x") || exists(place / "x")) {
    __builtin_trap();
  }
  return extracted.has_value();
}

bool archive(std::string_view input) {
  const auto document = JsonDocument::parse(input);
  return document && read_archive_request(document->root()).has_value();
}
std::vector<std::string> archive_seeds() {
  return {R"({"action":"get","view":{"pid":12,"cgroupPath":"/strata/x"},"path":"/a","follow":true,"name":"a"})",
          R"({"action":"put","view":{"overlay":{"lower":["/l1","/l2"],"upper":"/u","work":"/w","readOnly":true},"uidMappings":[{"containerID":0,"hostID":1,"size":2}],)"
          R"("gidMappings":[{"containerID":0,"hostID":1,"size":2}],"privatePlace":"/p"},"path":"/a","keepOwners":true})",
          R"({"action":"export","view":{"pid":12,"cgroupPath":"/strata/x"},"emptied":["etc/hosts"]})", R"({"action":"changes","upper":"/u","lower":["/l"]})",
          R"({"action":"write","view":{"pid":12,"cgroupPath":"/strata/x"},"path":"/a","sizeBytes":3,"create":true,"replace":false})",
          R"({"action":"rename","view":{"pid":12,"cgroupPath":"/strata/x"},"path":"/a","to":"/b","replace":true})",
          R"({"action":"remove","view":{"pid":12,"cgroupPath":"/strata/x"},"path":"/a","recursive":true})"};
}

bool users(std::string_view input) {
  OciProcess process;
  process.username = "name:group";
  const std::size_t half = input.size() / 2;
  return resolve_user(process, input.substr(0, half), input.substr(half)).has_value();
}
std::vector<std::string> user_seeds() { return {"root:x:0:0:root:/root:/bin/sh\nname:x:5:6::/home/name:/bin/sh\n::::::\ngroup:x:7:name,other\ngrou:x:4294967296:name\n:::"}; }

bool criu(std::string_view input) {
  static_cast<void>(oci::criu_complaints(input));
  return oci::decode_answer(input).has_value();
}
std::vector<std::string> criu_seeds() {
  return {std::string("\x08\x06\x10\x01\x2a\x11\x0a\x0cpost-restore\x10\xac\x02", 23), std::string("\x08\x01\x10\x00\x38\x02\x4a\x02no", 10)};
}

using Form = FuzzTarget::Form;
const FuzzTarget kTargets[] = {
    {"config", config, config_seeds, Form::kJson, 800},       {"process", process, process_seeds, Form::kJson, 1500},  {"request", request, request_seeds, Form::kJson, 500},
    {"seccomp", seccomp, seccomp_seeds, Form::kJson, 300},    {"frames", frames, frame_seeds, Form::kText, 20000},     {"channel", channel, channel_seeds, Form::kText, 1500},
    {"copy", copy, tar_seeds, Form::kBlocks, 400},            {"archive", archive, archive_seeds, Form::kJson, 1500},
    {"tar", tar, tar_seeds, Form::kBlocks, 1500},             {"layer", layer, tar_seeds, Form::kBlocks, 400},         {"users", users, user_seeds, Form::kText, 3000},
    {"criu", criu, criu_seeds, Form::kText, 20000},
};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

}  // namespace strata::test
