// The supervisor's methods: what a client may ask, and when.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "runtime/bind_sources.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/own_binary.h"
#include "runtime/seccomp.h"
#include "runtime/supervisor.h"
#include "runtime/trace.h"

namespace strata::runtime {
namespace {

struct StandardStreams {
  UniqueFd child_in, child_out, child_err;  // init's
  UniqueFd in, out, err;                    // the supervisor's; `in` only with an open stdin
};

Outcome<StandardStreams> make_streams(bool open_stdin, const RootIdentity& root) {
  StandardStreams streams;
  if (open_stdin) {
    TRY(make_pipe(root, streams.child_in, streams.in));
  } else {
    streams.child_in.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!streams.child_in) {
      return refuse_errno(ErrorCode::kInternal, "open '/dev/null'");
    }
  }
  TRY(make_pipe(root, streams.out, streams.child_out));
  TRY(make_pipe(root, streams.err, streams.child_err));
  ::fcntl(streams.out.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(streams.err.get(), F_SETFL, O_NONBLOCK);
  return streams;
}

Outcome<UniqueFd> memory_file(std::string_view text) {
  UniqueFd file(::memfd_create("strata-order", MFD_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return refuse_errno(ErrorCode::kInternal, "hand the config to init");
  }
  return file;
}

// What a helper may ask for beyond the methods of the wire's first version.
constexpr char kFeatures[] = R"(["execEnds","execSessions","logRotation","signalNotes"])";
// How much a client may say of why it sends a signal.
constexpr std::size_t kMaxNote = 512;

std::string identity_json(const char* name, pid_t pid, std::uint64_t start_time) {
  return "\"" + std::string(name) + "\":{\"pid\":" + std::to_string(pid) + ",\"startTime\":" + std::to_string(start_time) + "}";
}

}  // namespace

void Supervisor::on_frame(ConnectionId connection, const Frame& frame) {
  if (frame.type != FrameType::kRequest && server_.is_surplus(connection)) {
    return;
  }
  const auto exec = execs_.find(frame.session);
  switch (frame.type) {
    case FrameType::kRequest:
      on_request(connection, frame.payload);
      return;
    case FrameType::kStdin:
      if (frame.session == 0) {
        if (frame.payload.empty()) {
          stdin_.finish();
        } else if (!stdin_.push(connection, frame.payload)) {
          server_.close(connection);  // beyond its credit
        }
      } else if (exec != execs_.end() && exec->second->owner() == connection && !exec->second->push_stdin(frame.payload)) {
        server_.close(connection);
      }
      return;
    case FrameType::kCredit:
      if (exec != execs_.end() && exec->second->owner() == connection) {
        std::uint32_t bytes = 0;
        frame.payload.copy(reinterpret_cast<char*>(&bytes), sizeof bytes);
        exec->second->grant_output(bytes);
      }
      return;
    case FrameType::kResponse:
    case FrameType::kEvent:
    case FrameType::kStdout:
    case FrameType::kStderr:
      return;  // parse_frame lets none of them through
  }
}

void Supervisor::on_request(ConnectionId connection, std::string_view payload) {
  std::string id = "null";
  const auto answer = [&]() -> Outcome<std::optional<std::string>> {
    const JsonDocument document = TRY(JsonDocument::parse(payload));
    const Json request = document.root();
    TRY(request.object());
    id = std::to_string(TRY(request["id"].integer(0)));
    const std::string method = TRY(request["method"].text());
    const Json params = request["params"];
    return dispatch(connection, id, method, params, payload);
  }();
  if (!answer) {
    respond(connection, id, answer.error());
  } else if (*answer) {
    respond(connection, id, **answer);
  }
}

Outcome<std::optional<std::string>> Supervisor::dispatch(ConnectionId connection, const std::string& id, const std::string& method, const Json& params,
                                                         std::string_view payload) {
  const auto later = std::optional<std::string>();
  const auto empty = std::optional<std::string>("{}");
  const auto wait_for_init = [&] { pending_ = Pending{connection, id}; };
  if (server_.is_surplus(connection)) {
    return too_many_sessions();
  }
  if (method == "hello") {
    return std::optional(TRY(hello(connection, params)));
  }
  if (method == "create" || method == "run") {
    TRY(create(params, payload, method == "run"));
    wait_for_init();
    return later;
  }
  if (method == "start") {
    TRY(start());
    wait_for_init();
    return later;
  }
  if (method == "kill") {
    TRY(kill_init(params));
    return empty;
  }
  if (method == "exec") {
    TRY(exec(connection, id, params));
    return later;
  }
  if (method == "resize") {
    TRY(resize(params));
    return empty;
  }
  if (method == "sessions" && params_.wire >= 2) {
    return std::optional(TRY(sessions(params)));
  }
  if (method == "endedSessions" && params_.wire >= 2) {
    return ended_sessions();
  }
  if (method == "signalExec" && params_.wire >= 2) {
    TRY(signal_exec(params));
    return empty;
  }
  if (method == "follow") {
    Subscriber& subscriber = subscribers_[connection];
    subscriber.follow = TRY(params["on"].boolean());
    subscriber.said_size = log_.written_bytes();
    return std::optional("{\"size\":" + std::to_string(log_.written_bytes()) + "}");
  }
  if (method == "discard") {
    TRY(discard());
    wait_for_init();
    return later;
  }
  return refuse(ErrorCode::kInvalidRequest, "there is no method '" + method + "'");
}

Outcome<std::string> Supervisor::hello(ConnectionId connection, const Json& params) {
  const std::int64_t least = TRY(params["version"].integer(kOldestWire, params_.wire));
  const std::int64_t most = TRY(params["maxVersion"].optional_integer(least, 1000)).value_or(least);
  subscribers_[connection].events = true;
  std::string json = "{\"version\":" + std::to_string(std::min<std::int64_t>(most, params_.wire)) + ",\"id\":\"" + params_.id + "\",\"phase\":\"" + phase_name() + "\"," + identity_json("supervisor", ::getpid(), own_start_time_) + "," +
                     identity_json("init", sandbox_.pid, init_start_time_) + ",\"bootId\":\"" + boot_id_ + "\"";
  if (phase_ == Phase::kRunning) {
    json += ",\"startedAt\":\"" + rfc3339(exit_.started_at) + "\"";
  }
  if (phase_ == Phase::kExited) {
    json += ",\"exit\":" + exit_.to_json();
  }
  if (params_.wire >= 2) {
    json += std::string(",\"features\":") + kFeatures;
  }
  if (log_.lost_bytes() > 0) {
    json += ",\"lostLogBytes\":" + std::to_string(log_.lost_bytes());
  }
  grant_stdin(connection);
  return json + "}";
}

Done Supervisor::check_namespaces(const OciConfig& config) const {
  std::vector<std::string> wanted = config.namespaces;
  std::vector<std::string> present = params_.sandbox.namespaces.names();
  std::sort(wanted.begin(), wanted.end());
  std::sort(present.begin(), present.end());
  if (wanted != present || !config.joined_namespaces.empty()) {
    std::string list;
    for (const std::string& name : present) {
      list += (list.empty() ? "" : ", ") + name;
    }
    return refuse(ErrorCode::kInvalidRequest, "linux.namespaces must be those of the sandbox: " + list);
  }
  return {};
}

// Everything that can be refused comes before init hears of it.
Done Supervisor::create(const Json& params, std::string_view payload, bool is_run) {
  if (phase_ != Phase::kSandbox || discarding_) {
    return refuse(ErrorCode::kInvalidState, std::string("the container is ") + phase_name() + " already");
  }
  trace::mark("wait for the order, parse it");
  CreateParams create = TRY(read_create_params(params));
  TRY(check_namespaces(create.config));
  const OciProcess& process = create.config.process;
  const MountPlan plan = TRY(build_mount_plan(create.config, {.user_namespace = sandbox_.namespaces.user, .cgroup_namespace = sandbox_.namespaces.cgroup, .cgroups = &cgroup_.host()}));
  trace::mark("read the config, plan the mounts");
  LogWriter log = TRY(LogWriter::open(create.log_path, create.log_limits));
  UniqueFd seccomp;
  if (!create.seccomp_program.empty()) {
    seccomp = TRY(open_seccomp_program(create.seccomp_program));
  } else if (const Json profile = params["config"]["linux"]["seccomp"]; !profile.absent()) {
    seccomp = TRY(compile_seccomp_apart(profile));
  }
  trace::mark("open the log, load the seccomp program");
  TRY(classify(cgroup_.apply(create.config.resources), ErrorCode::kLimitRejected, "apply the limits"));
  trace::mark("set limits and device rules");
  const std::vector<UniqueFd> binds = TRY(open_bind_sources(real_sys(), plan.binds, sandbox_.user_namespace.get()));
  UniqueFd root = create.overlay ? TRY(make_overlay(real_sys(), *create.overlay, sandbox_.root, params_.run_dir + "/layers"))
                                 : TRY(make_bound_root(real_sys(), create.config.root_path, sandbox_.root));
  trace::mark("open binds, mount the overlay");
  if (process.oom_score_adj) {
    const std::string file = "/proc/" + std::to_string(sandbox_.pid) + "/oom_score_adj";
    TRY(classify(real_sys().write_file(AT_FDCWD, file, std::to_string(*process.oom_score_adj), 0), ErrorCode::kLimitRejected, "set oomScoreAdj"));
  }
  const UniqueFd order = TRY(memory_file(payload));
  std::vector<int> fds = {order.get(), root.get()};
  if (seccomp) {
    fds.push_back(seccomp.get());
  }
  UniqueFd init_program;
  if (create.init) {
    init_program = TRY(open_own_file());
    fds.push_back(init_program.get());
  }
  StandardStreams streams;
  if (!process.terminal) {
    streams = TRY(make_streams(create.open_stdin, sandbox_.root));
    fds.insert(fds.end(), {streams.child_in.get(), streams.child_out.get(), streams.child_err.get()});
  }
  for (const UniqueFd& bind : binds) {
    fds.push_back(bind.get());
  }
  std::vector<UniqueFd> reserve = TRY(sandbox_.channel.reserve(process.terminal ? 3 : 0));
  TRY(sandbox_.channel.send(MessageKind::kCreate, CreateOrder{!is_run, seccomp.valid(), init_program.valid()}.encode(), fds));
  trace::mark("make the streams, send the order");
  // From here on it is init's answer that counts.
  phase_ = Phase::kCreating;
  log_ = std::move(log);
  exit_path_ = create.exit_path;
  durable_ = create.durable;
  terminal_ = process.terminal;
  open_stdin_ = create.open_stdin;
  container_oom_score_adj_ = process.oom_score_adj.value_or(host_oom_score_adj_);
  root_mount_ = std::move(root);
  seccomp_ = std::move(seccomp);
  reserve_ = std::move(reserve);
  stdin_end_ = std::move(streams.in);
  stdout_ = std::move(streams.out);
  stderr_ = std::move(streams.err);
  return {};
}

Done Supervisor::start() {
  if (phase_ != Phase::kCreated || pending_) {
    return refuse(ErrorCode::kInvalidState, std::string("only a created container can be started; this one is ") + phase_name());
  }
  TRY(sandbox_.channel.send(MessageKind::kStart));
  phase_ = Phase::kStarting;
  return {};
}

Done Supervisor::kill_init(const Json& params) {
  const auto signal = static_cast<int>(TRY(params["signal"].integer(1, 64)));
  std::string note = TRY(params["note"].text_or(""));
  if (note.size() > kMaxNote) {
    return params["note"].wrong("at most " + std::to_string(kMaxNote) + " bytes");
  }
  // While it is being created a kill is how a client gives up on a mount that hangs.
  if (phase_ == Phase::kSandbox) {
    return refuse(ErrorCode::kInvalidState, "the container is not created yet");
  }
  if (::syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), signal, nullptr, 0) == 0) {
    exit_.requested = RequestedSignal{signal, nanoseconds_now(), std::move(note)};
  } else if (errno != ESRCH) {
    return refuse_errno(ErrorCode::kInternal, "send signal " + std::to_string(signal));
  }
  return {};
}

Done Supervisor::resize(const Json& params) {
  const auto session = static_cast<std::uint32_t>(TRY(params["session"].integer(0, 0xffffffff)));
  const ConsoleSize size{static_cast<unsigned short>(TRY(params["columns"].integer(0, 0xffff))), static_cast<unsigned short>(TRY(params["rows"].integer(0, 0xffff)))};
  if (session == 0) {
    if (!console_) {
      return refuse(ErrorCode::kInvalidRequest, "the container has no terminal");
    }
    return resize_console(console_.get(), size);
  }
  const auto found = execs_.find(session);
  if (found == execs_.end()) {
    return no_such_session(session);
  }
  return found->second->resize(size);
}

Done Supervisor::discard() {
  if ((phase_ != Phase::kSandbox && phase_ != Phase::kCreated) || discarding_) {
    return refuse(ErrorCode::kInvalidState, std::string("only what has not started can be discarded; this one is ") + phase_name());
  }
  discarding_ = true;
  ::syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), SIGKILL, nullptr, 0);
  return {};
}

void Supervisor::respond(ConnectionId connection, const std::string& id, const std::string& result) {
  server_.send(connection, FrameType::kResponse, 0, "{\"id\":" + id + ",\"result\":" + result + "}");
}

void Supervisor::respond(ConnectionId connection, const std::string& id, const Failure& failure) {
  server_.send(connection, FrameType::kResponse, 0, "{\"id\":" + id + ",\"error\":" + to_json(failure) + "}");
}

void Supervisor::say(const std::string& event) {
  std::vector<ConnectionId> listeners;  // sending may close a connection, which changes the map
  for (const auto& [connection, subscriber] : subscribers_) {
    if (subscriber.events) {
      listeners.push_back(connection);
    }
  }
  for (const ConnectionId connection : listeners) {
    server_.send(connection, FrameType::kEvent, 0, event);
  }
}

}  // namespace strata::runtime
