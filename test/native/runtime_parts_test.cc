#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "core/rollback.h"
#include "runtime/arguments.h"
#include "runtime/capability_names.h"
#include "runtime/environment.h"
#include "runtime/channel.h"
#include "runtime/clock.h"
#include "runtime/control_server.h"
#include "runtime/exit_record.h"
#include "runtime/init.h"
#include "runtime/requests.h"
#include "runtime/user_lookup.h"

using namespace strata;
using namespace strata::runtime;

namespace {

constexpr char kPasswd[] = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\nbroken\n4321:x:77:78::/d:/bin/sh\nevil:x:4294967295:0::/:/bin/sh\n";
constexpr char kGroup[] = "root:x:0:\nwheel:x:10:alice,bob\nbobby:x:11:bobby\n";

OciProcess process_of(const std::string& username) {
  OciProcess process;
  process.username = username;
  return process;
}

std::string wrong_config(const std::string& json) {
  const auto document = JsonDocument::parse(json);
  if (!document) {
    return document.error().error.what;
  }
  const Json root = document->root();
  const auto config = read_config(root);
  return config ? "" : config.error().error.what;
}

}  // namespace

TEST_CASE("users by name, number and with a group") {
  const auto bob = resolve_user(process_of("bob"), kPasswd, kGroup);
  REQUIRE(bob);
  CHECK(bob->uid == 1000);
  CHECK(bob->gid == 1001);
  CHECK(bob->home == "/home/bob");
  CHECK(bob->groups == std::vector<gid_t>{10});
  const auto with_group = resolve_user(process_of("bob:wheel"), kPasswd, kGroup);
  REQUIRE(with_group);
  CHECK(with_group->gid == 10);
  CHECK(with_group->groups.empty());
  CHECK(resolve_user(process_of("1000"), kPasswd, kGroup)->home == "/home/bob");
  CHECK(resolve_user(process_of("4321"), kPasswd, kGroup)->uid == 77);  // a name of digits wins
  CHECK(resolve_user(process_of("555:666"), kPasswd, kGroup)->gid == 666);
  CHECK(resolve_user(process_of("555"), "", "")->home == "/");
  for (const char* unknown : {"nobody", "evil", "4294967295", "-1", "bob:nogroup", ":"}) {
    const auto refused = resolve_user(process_of(unknown), kPasswd, kGroup);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::kUserNotFound);
  }
}

TEST_CASE("JSON: depth, syntax, and errors that name the member") {
  CHECK_FALSE(JsonDocument::parse(std::string(100, '[')));
  CHECK_FALSE(JsonDocument::parse("{\"a\":1"));
  CHECK_FALSE(JsonDocument::parse("\"\xff\""));
  CHECK(JsonDocument::parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""));
  CHECK(wrong_config("{}") == "process is missing: it must be an object");
  CHECK(wrong_config(R"({"process":{"args":[]}})") == "process.args must be a non-empty array of strings");
  CHECK(wrong_config(R"({"process":{"args":["a",5]}})") == "process.args[1] must be a string");
  CHECK(wrong_config(R"({"process":{"args":["a\u0000b"]}})") == "process.args[0] must be a string without NUL");
  CHECK(wrong_config(R"({"process":{"args":["a"],"cwd":"x"}})") == "process.cwd must be an absolute path");
  CHECK(wrong_config(R"({"process":{"args":["a"],"user":{"uid":4294967295}}})") == "process.user.uid must be an integer from 0 to 4294967294");
  CHECK(wrong_config(R"({"process":{"args":["a"]},"linux":{"resources":{"memory":{"limit":"1"}}}})") == "linux.resources.memory.limit must be an integer");
  CHECK(wrong_config(R"({"process":{"args":["a"]}})").empty());
}

TEST_CASE("JSON writer: quotes, control characters and bytes that are no UTF-8") {
  JsonWriter json;
  json.begin_object();
  json.field("a", "q\"\\\n\xc3\xbc\xff");
  json.field("b", std::int64_t{-1});
  json.field("c", std::vector<std::string>{"x", "\""});
  json.field("d", std::vector<std::string>{});
  json.end_object();
  CHECK(json.take() == "{\"a\":\"q\\\"\\\\\\u000a\xc3\xbc\\u00ff\",\"b\":-1,\"c\":[\"x\",\"\\\"\"],\"d\":[]}");
}

TEST_CASE("frames") {
  Frame frame;
  const std::string request = encode_frame_header(FrameType::kRequest, 0, 2) + "{}";
  CHECK(parse_frame(request.substr(0, 11), frame) == FrameParse::kIncomplete);
  CHECK(parse_frame(request.substr(0, 13), frame) == FrameParse::kIncomplete);
  const std::string more = request + "x";
  CHECK(parse_frame(more, frame) == FrameParse::kFrame);
  CHECK(frame.payload == "{}");
  CHECK(parse_frame(encode_frame_header(FrameType::kStdout, 1, 0), frame) == FrameParse::kBroken);
  CHECK(parse_frame(encode_frame_header(FrameType::kRequest, 0, kMaxFramePayload + 1), frame) == FrameParse::kBroken);
  CHECK(parse_frame(encode_frame_header(FrameType::kCredit, 1, 3), frame) == FrameParse::kBroken);
  std::string dirty = request;
  dirty[5] = 1;
  CHECK(parse_frame(dirty, frame) == FrameParse::kBroken);
}

TEST_CASE("the channel carries text and descriptors, and its failures are checked") {
  auto pair = Channel::make_pair();
  REQUIRE(pair);
  auto& [left, right] = *pair;
  REQUIRE(left.send(MessageKind::kCreate, "text", {0, 1}));
  auto message = right.expect(MessageKind::kCreate);
  REQUIRE(message);
  CHECK(message->text == "text");
  CHECK(message->fds.size() == 2);
  REQUIRE(left.send(MessageKind::kReady));
  CHECK_FALSE(right.expect(MessageKind::kCreated));
  Message failed{MessageKind::kFailed, encode_failure(Failure(ErrorCode::kUserNotFound, Error{0, "no user", ""})), {}};
  CHECK(decode_failure(failed).code == ErrorCode::kUserNotFound);
  failed.text = "\x01not json";
  CHECK(decode_failure(failed).code == ErrorCode::kInternal);
  failed.text = "\x7f{}";
  CHECK(decode_failure(failed).code == ErrorCode::kInternal);
  left.close();
  CHECK_FALSE(right.expect(MessageKind::kCreate));
}

TEST_CASE("exit records") {
  ExitRecord record;
  record.id = "x";
  record.set_status(9);
  record.started_at = 1'000'000'001;
  record.finished_at = 2'000'000'000;
  CHECK(record.to_json() == "{\"formatVersion\":1,\"id\":\"x\",\"code\":null,\"signal\":9,\"oomKilled\":false,\"oomKills\":0,\"memoryPeakBytes\":null,"
                            "\"startedAt\":\"1970-01-01T00:00:01.000000001Z\",\"finishedAt\":\"1970-01-01T00:00:02.000000000Z\"}");
  record.tells_requests = true;
  CHECK(record.to_json().ends_with(",\"requested\":null}"));
  record.requested = RequestedSignal{15, 3'000'000'000, "by \"me\""};
  CHECK(record.to_json().ends_with(",\"requested\":{\"signal\":15,\"at\":\"1970-01-01T00:00:03.000000000Z\",\"note\":\"by \\\"me\\\"\"}}"));
  CHECK(process_start_time(::getpid()) > 0);
  CHECK_FALSE(replace_file("/nonexistent/exit.json", "{}", false));
}

TEST_CASE("the command line of supervise") {
  const std::vector<std::string> good = {"--id", "abc", "--run-dir", "/run/x", "--cgroup-path", "/strata/abc"};
  REQUIRE(parse_supervise(good));
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = good;
    all.insert(all.end(), more.begin(), more.end());
    return parse_supervise(all);
  };
  CHECK(with({"--namespaces", "mount,pid,user", "--uid-map", "0:100000:65536", "--gid-map", "0:100000:65536"}));
  CHECK_FALSE(with({"--namespaces", "mount,pid,user"}));
  CHECK_FALSE(with({"--namespaces", "mount"}));
  CHECK_FALSE(with({"--uid-map", "0:1"}));
  CHECK_FALSE(with({"--what", "x"}));
  CHECK_FALSE(with({"--id"}));
  CHECK_FALSE(with({"--id", "../x"}));
  CHECK_FALSE(with({"--cgroup-path", "/../x"}));
  CHECK(parse_supervise(good)->wire == kWire);
  CHECK(with({"--wire", "1"})->wire == 1);
  for (const char* const wire : {"0", "3", "", "1x", "-1"}) {
    CHECK_FALSE(with({"--wire", wire}));
  }
}

TEST_CASE("what an exec is asked with") {
  const auto read = [](const std::string& members) {
    const auto document = JsonDocument::parse("{\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}}" + members + "}");
    REQUIRE(document);
    const Json root = document->root();
    return read_exec_params(root);
  };
  CHECK_FALSE(read("")->detach);
  const auto detached = read(",\"detach\":true,\"id\":\"health0a\"");
  REQUIRE(detached);
  CHECK(detached->detach);
  CHECK(detached->id == "health0a");
  CHECK_FALSE(read(",\"detach\":true,\"attachStdin\":true"));
  CHECK_FALSE(read(",\"id\":\"../x\""));
  CHECK_FALSE(read(",\"id\":\"" + std::string(65, 'a') + "\""));
}

TEST_CASE("the order of a create goes to init as it was meant") {
  for (const bool wait : {false, true}) {
    for (const bool seccomp : {false, true}) {
      for (const bool init : {false, true}) {
        const auto decoded = CreateOrder::decode(CreateOrder{wait, seccomp, init}.encode());
        CHECK(decoded.wait_for_start == wait);
        CHECK(decoded.has_seccomp == seccomp);
        CHECK(decoded.has_init_program == init);
      }
    }
  }
  CHECK_FALSE(CreateOrder::decode("cs").has_seccomp);
}

TEST_CASE("capabilities by name") {
  CHECK(capability_number("CAP_CHOWN") == 0);
  CHECK(capability_number("CAP_SYS_ADMIN") == 21);
  CHECK(capability_number("CAP_CHECKPOINT_RESTORE") == 40);
  CHECK(capability_number("CHOWN") == -1);
}

TEST_CASE("capabilities that are none are kept as names, each once and not too many") {
  std::string many;
  for (int i = 0; i < 5000; ++i) {
    many += ",\"CAP_" + std::to_string(i) + "\"";
  }
  const std::string text = R"({"args":["a"],"capabilities":{"bounding":["CAP_X","CAP_KILL"],"effective":["CAP_X","CAP_Y")" + many + "]}}";
  const auto document = JsonDocument::parse(text);
  REQUIRE(document);
  const auto process = read_process(document->root());
  REQUIRE(process);
  CHECK(process->capabilities.bounding == 1U << 5);
  CHECK(process->unknown_capabilities.size() == 64);
  CHECK(process->unknown_capabilities[0] == "CAP_X");
  CHECK(process->unknown_capabilities[1] == "CAP_Y");
}

TEST_CASE("environments: the last of a name, PATH and HOME always") {
  using Strings = std::vector<std::string>;
  const std::string path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  CHECK(complete_environment({}, "/root") == Strings{path, "HOME=/root"});
  CHECK(complete_environment({"A=1", "HOME=/x", "B=", "A=2", "PATH=/b"}, "/root") == Strings{"HOME=/x", "B=", "A=2", "PATH=/b"});
  CHECK(complete_environment({"PATH=/b", "PATH=", "HOME="}, "/") == Strings{path, "HOME=/"});
  CHECK(complete_environment({"A=1", "AB=2", "A", "=x"}, "/").size() == 5);
  CHECK(value_of({"AB=1", "A=2"}, "A") == "2");
  CHECK(value_of({"A="}, "A").empty());
}

TEST_CASE("a rollback runs in reverse unless it is committed") {
  std::string order;
  {
    Rollback rollback;
    rollback.add([&] { order += "a"; });
    rollback.add([&] { order += "b"; });
  }
  CHECK(order == "ba");
  {
    Rollback rollback;
    rollback.add([&] { order += "c"; });
    rollback.commit();
  }
  CHECK(order == "ba");
}
