#include <doctest/doctest.h>
#include <sys/stat.h>

#include "runtime/json.h"
#include "runtime/oci/criu_container.h"
#include "runtime/oci/criu_log.h"
#include "runtime/oci/criu_rpc.h"

using namespace strata;
using namespace strata::runtime;
using namespace strata::runtime::oci;

using Bytes = std::string;

TEST_CASE("criu's messages: a request, byte by byte") {
  CriuOptions options;
  options.images_fd = 4;
  options.pid = 300;
  options.leave_running = true;
  options.root = "/r";
  options.cgroups = CriuCgroups::kSoft;
  options.external = {"a"};
  options.cgroup_roots = {{"", "/c"}};
  options.inherited = {{"k", 7}};
  const Bytes inside = Bytes("\x08\x04" "\x10\xac\x02" "\x18\x01" "\x48\x04" "\x60\x01" "\x6a\x02/r" "\xc0\x01\x01", 18) + Bytes("\xca\x01\x06" "\x0a\x00" "\x12\x02/c", 9) +
                       Bytes("\xda\x01\x05" "\x0a\x01k" "\x10\x07", 8) + Bytes("\x90\x02\x03" "\xaa\x02\x01" "a", 7);
  CHECK(encode_request(CriuType::kDump, options) == Bytes("\x08\x01\x12", 3) + static_cast<char>(inside.size()) + inside);
  CHECK(encode_notified(true) == Bytes("\x08\x06\x18\x01", 4));
  CHECK(encode_notified(false) == Bytes("\x08\x06\x18\x00", 4));
  // A descriptor that is none: -1 has ten bytes.
  CHECK(encode_request(CriuType::kRestore, {}).substr(4, 11) == Bytes("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));
}

TEST_CASE("criu's messages: answers") {
  const auto notified = decode_answer(Bytes("\x08\x06\x10\x01\x2a\x11" "\x0a\x0cpost-restore" "\x10\xac\x02", 23));
  REQUIRE(notified);
  CHECK(notified->type == 6);
  CHECK(notified->success);
  CHECK(notified->notification == "post-restore");
  CHECK(notified->pid == 300);
  const auto restored = decode_answer(Bytes("\x08\x02\x10\x01\x22\x02\x08\x05", 8));
  REQUIRE(restored);
  CHECK(restored->pid == 5);
  const auto failed = decode_answer(Bytes("\x08\x01\x10\x00\x38\x02\x4a\x02no" "\xfa\x01\x01x" "\x81\x02" "12345678" "\x85\x02" "1234", 30));
  REQUIRE(failed);
  CHECK_FALSE(failed->success);
  CHECK(failed->reason == 2);
  CHECK(failed->message == "no");
  // A pid that is none.
  CHECK(decode_answer(Bytes("\x08\x02\x22\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15))->pid == 0);
  CHECK_FALSE(decode_answer(""));
  CHECK_FALSE(decode_answer(Bytes("\x10\x01", 2)));
  for (const Bytes& cut : {Bytes("\x08"), Bytes("\x08\x80"), Bytes("\x08\x01\x2a\x05\x0a"), Bytes("\x08\x01\x4a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Bytes("\x08\x01\x0b"), Bytes("\x08\x01\x2a\x02\x0a\x05"),
                           Bytes("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Bytes("\x08\x01\x29\x01")}) {
    CHECK_FALSE(decode_answer(cut));
  }
}

TEST_CASE("criu's log: the lines that tell why, printable and not too many") {
  CHECK(criu_complaints("").empty());
  CHECK(criu_complaints("(00.1) all is well\n(00.2) Warn  (criu/x.c:1): hm\n").empty());
  CHECK(criu_complaints("(00.1)      1: Error (criu/files-reg.c:1629): Can't lookup mount=34 for fd=1\n(00.2) Unlock\n(00.3) Error (criu/cr-dump.c:2053): Dumping FAILED.\n") ==
        "Can't lookup mount=34 for fd=1; Dumping FAILED.");
  // The same once, whatever says it; the last ones of many, in order.
  std::string many = "Error (a): twice\nError (b): twice";
  CHECK(criu_complaints(many) == "twice");
  many.clear();
  for (int i = 0; i < 20; ++i) {
    many += "Error (a): e" + std::to_string(i) + "\n";
  }
  CHECK(criu_complaints(many) == "e15; e16; e17; e18; e19");
  // What a container called its files.
  CHECK(criu_complaints("Error (criu/x.c:1): file '\x1b[2J\xc3\xbc\x7f'") == "file '?[2J?" "?" "?'");
  CHECK(criu_complaints("Error (criu/x.c:1): " + std::string(100'000, 'x')).size() == 300);
  CHECK(criu_complaints("Error (").size() == 7);
  CHECK(criu_complaints("\n\n\n").empty());
}

TEST_CASE("names of pipes outside: nothing else is taken from an image's files") {
  const auto decoded = [](const char* text) {
    const auto document = JsonDocument::parse(text);
    REQUIRE(document);
    return decode_streams(document->root());
  };
  const std::array<std::string, 3> streams = {"pipe:[12]", "", "pipe:[7]"};
  CHECK(decoded(encode_streams(streams).c_str()) == streams);
  CHECK(decoded(R"(["/dev/null","pipe:[1]","pipe:[1]","pipe:[2]"])") == std::array<std::string, 3>{"", "pipe:[1]", "pipe:[1]"});
  CHECK(decoded(R"(["pipe:[]","pipe:[1]x","pipe:[1\n]"])") == std::array<std::string, 3>());
  CHECK(decoded(R"([7,null,{"a":1}])") == std::array<std::string, 3>());
  CHECK(decoded("{}") == std::array<std::string, 3>());
}

TEST_CASE("checkpoint options: what is asked for, and what is refused") {
  const auto settings = [](const std::vector<std::string>& words) -> Outcome<CriuSettings> {
    const Options options = TRY(Options::parse(criu_options(), words));
    return criu_settings(options, "");
  };
  const auto plain = settings({"id"});
  REQUIRE(plain);
  CHECK(plain->image_path == "checkpoint");
  CHECK(plain->options.cgroups == CriuCgroups::kDefault);
  CHECK(plain->options.empty_namespaces == 0x40000000);  // CLONE_NEWNET
  const auto asked = settings({"--image-path", "/i", "--work-path=/w", "--tcp-established", "--shell-job", "--manage-cgroups-mode", "strict", "--empty-ns", "network", "id"});
  REQUIRE(asked);
  CHECK(asked->work_path == "/w");
  CHECK(asked->options.tcp_established);
  CHECK(asked->options.shell_job);
  CHECK_FALSE(asked->options.file_locks);
  CHECK(asked->options.cgroups == CriuCgroups::kStrict);
  CHECK_FALSE(settings({"--lazy-pages", "id"}));
  CHECK_FALSE(settings({"--manage-cgroups-mode", "x", "id"}));
  CHECK_FALSE(settings({"--empty-ns", "pid", "id"}));
}

TEST_CASE("what lies outside of a container") {
  OciConfig config;
  config.process.args = {"true"};
  config.mounts = {{"/proc", "proc", "proc", {}}, {"/var/run/x", "bind", "/host/x", {"bind"}}};
  config.devices = {{"/dev/fuse", S_IFCHR, 0666, 10, 229, 0, 0}};
  const auto plan = build_mount_plan(config, {});
  REQUIRE(plan);
  CHECK(external_mounts(*plan) == std::vector<std::string>{"/var/run/x"});
  const auto in_user_namespace = build_mount_plan(config, {.user_namespace = true});
  REQUIRE(in_user_namespace);
  CHECK(external_mounts(*in_user_namespace).size() == 8);  // its devices are binds too
  CHECK(criu_config_file(config) == "/etc/criu/runc.conf");
  config.annotations = {{"org.criu.config", ""}};
  CHECK(criu_config_file(config).empty());
  config.joined_namespaces = {{"network", "/n"}, {"ipc", "/i"}};
  CHECK(check_restorable(config));
  config.joined_namespaces.push_back({"mount", "/m"});
  CHECK_FALSE(check_restorable(config));
  config.joined_namespaces.clear();
  config.namespaces = {"user"};
  CHECK_FALSE(check_restorable(config));
}
