#include "runtime/supervisor.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "core/rollback.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/trace.h"

namespace strata::runtime {
namespace {

constexpr std::uint64_t kLoggedIntervalNs = 16'000'000;
constexpr int kFinalFlushMs = 500;
constexpr int kRetryMs = 1000;

int read_oom_score_adj() {
  std::array<char, 16> text{};
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
  return file && ::read(file.get(), text.data(), text.size() - 1) > 0 ? std::atoi(text.data()) : 0;
}

}  // namespace

Supervisor::Supervisor(const SupervisorParams& params, Cgroup cgroup)
    : params_(params),
      cgroup_(std::move(cgroup)),
      server_(loop_, {.frame = [this](ConnectionId connection, const Frame& frame) { on_frame(connection, frame); },
                      .closed = [this](ConnectionId connection) { on_connection_closed(connection); },
                      .drained =
                          [this](ConnectionId connection) {
                            for (auto& [id, session] : execs_) {
                              if (session->owner() == connection) {
                                session->resume_output();
                                break;  // it may have ended and changed the map; the next chunk wakes the next one
                              }
                            }
                          }}),
      stdin_(loop_, [this](ConnectionId connection, std::uint32_t bytes) {
        server_.send(connection, FrameType::kCredit, 0, {reinterpret_cast<const char*>(&bytes), sizeof bytes});
      }) {
  exit_.id = params_.id;
  exit_.tells_requests = params_.wire >= 2;
}

Done Supervisor::prepare() {
  Rollback rollback;
  rollback.add([this] { static_cast<void>(cgroup_.destroy()); });
  run_dir_.reset(::open(params_.run_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!run_dir_) {
    return refuse_errno(ErrorCode::kInternal, "open the run directory '" + params_.run_dir + "'", "", params_.run_dir);
  }
  host_oom_score_adj_ = read_oom_score_adj();
  container_oom_score_adj_ = host_oom_score_adj_;
  sandbox_ = TRY(make_sandbox(params_.sandbox, cgroup_));
  rollback.add([this] {
    ::kill(sandbox_.pid, SIGKILL);
    reap(sandbox_.pid);
  });
  trace::mark("wait for init to be ready");
  // Last to be killed when the host runs out of memory; the sandbox was cloned before, and stays as it was. Not everywhere allowed.
  static_cast<void>(real_sys().write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-999", 0));
  boot_id_ = boot_id();
  own_start_time_ = process_start_time(::getpid());
  init_start_time_ = process_start_time(sandbox_.pid);
  if (boot_id_.empty() || own_start_time_ == 0 || init_start_time_ == 0) {  // the helper could never tell them from others
    return refuse(ErrorCode::kInternal, "read the boot's id and the processes' start times from /proc");
  }
  TRY(server_.listen(run_dir_.get()));
  rollback.add([this] { ::unlinkat(run_dir_.get(), "control.sock", 0); });
  JsonWriter state;
  state.begin_object();
  state.field("formatVersion", 1);
  state.field("id", params_.id);
  state.field("bootId", boot_id_);
  state.begin_object("supervisor");
  state.field("pid", static_cast<std::int64_t>(::getpid()));
  state.field("startTime", own_start_time_);
  state.end_object();
  state.begin_object("init");
  state.field("pid", static_cast<std::int64_t>(sandbox_.pid));
  state.field("startTime", init_start_time_);
  state.end_object();
  state.field("cgroupPath", params_.cgroup_path);
  state.end_object();
  TRY(replace_file(params_.run_dir + "/state.json", state.take(), false));
  loop_.watch(sandbox_.channel.fd(), EPOLLIN, [this](std::uint32_t) { on_channel(); });
  loop_.watch(sandbox_.pidfd.get(), EPOLLIN, [this](std::uint32_t) { on_init_ended(); });
  rollback.commit();
  ::malloc_trim(0);
  trace::mark("listen, write state.json");
  return {};
}

void Supervisor::run() {
  while (!done_) {
    // With log growth to tell: take what else is ready first, so that many small writes become one event.
    bool to_tell = false;
    for (const auto& [connection, subscriber] : subscribers_) {
      to_tell = to_tell || (subscriber.follow && subscriber.said_size != log_.written_bytes() && server_.queued_bytes(connection) == 0);
    }
    const bool handled = loop_.run_once(to_tell ? 0 : server_.is_full() ? kRetryMs : -1);
    ended_exec_.reset();
    if (!handled) {
      server_.retry();
    }
    if (to_tell) {
      say_logged(!handled);
    }
  }
  server_.flush(kFinalFlushMs);
}

// ---- init's messages -------------------------------------------------------------------------------------------------------------

void Supervisor::on_channel() {
  reserve_.clear();
  auto received = sandbox_.channel.receive(false);
  if (!received) {
    return;  // nothing there after all
  }
  if (*received) {
    Message& message = **received;
    if (message.kind == MessageKind::kConsole && message.fds.size() == 1 && !console_ && phase_ == Phase::kCreating) {
      console_ = std::move(message.fds[0]);
      stdout_.reset(::fcntl(console_.get(), F_DUPFD_CLOEXEC, 3));
      if (open_stdin_) {
        stdin_end_.reset(::fcntl(console_.get(), F_DUPFD_CLOEXEC, 3));
      }
      return;
    }
    if (message.kind == MessageKind::kCreated && phase_ == Phase::kCreating) {
      on_created();
      return;
    }
    if (message.kind == MessageKind::kExecuting && (phase_ == Phase::kStarting || phase_ == Phase::kCreating)) {
      executing_ = true;
      exit_.started_at = nanoseconds_now();
      return;
    }
  }
  loop_.forget(sandbox_.channel.fd());
  sandbox_.channel.close();
  if (!*received && executing_) {
    on_started();
  } else if (*received && (*received)->kind == MessageKind::kFailed) {
    on_init_failed(decode_failure(**received));
  } else if (*received) {
    ::kill(sandbox_.pid, SIGKILL);
    on_init_failed(Failure(Error{EPROTO, "unexpected message from the container's init", ""}));
  }
  // Else it was killed on the way; its end follows.
}

void Supervisor::on_created() {
  phase_ = Phase::kCreated;
  open_main_streams();
  if (pending_) {
    respond(pending_->connection, pending_->id, "{}");
    pending_.reset();
  }
}

void Supervisor::on_started() {
  if (phase_ == Phase::kCreating) {
    open_main_streams();
  }
  phase_ = Phase::kRunning;
  trace::mark("wait for init's execve");
  JsonWriter json;
  json.begin_object();
  json.field("pid", static_cast<std::int64_t>(sandbox_.pid));
  json.field("startTime", init_start_time_);
  json.field("startedAt", rfc3339(exit_.started_at));
  json.end_object();
  const std::string result = json.take();
  if (pending_) {
    respond(pending_->connection, pending_->id, result);
    pending_.reset();
  }
  say("{\"event\":\"started\"," + result.substr(1));
  trace::mark("answer, say `started`");
  ::malloc_trim(0);
}

void Supervisor::on_init_failed(const Failure& failure) {
  exit_.error_json = to_json(failure);
  exit_.started_at = 0;
  failure_code_ = failure.code;
  if (pending_) {
    respond(pending_->connection, pending_->id, failure);
    pending_.reset();
  }
}

void Supervisor::on_init_ended() {
  // What it said last comes first: `started` before `exited`.
  while (sandbox_.channel.open() && phase_ != Phase::kSandbox) {
    on_channel();
  }
  // The pid namespace is gone, and with it every exec; each says its end before the container does.
  while (!execs_.empty()) {
    execs_.begin()->second->finish_now();
    ended_exec_.reset();
  }
  trace::mark("wait for the exit");
  const int status = reap(sandbox_.pid);
  loop_.forget(sandbox_.pidfd.get());
  const bool ran = phase_ == Phase::kRunning;
  if (ran) {
    exit_.set_status(status);
  } else if (phase_ != Phase::kSandbox && !discarding_) {
    if (!failure_code_) {
      on_init_failed(Failure(ErrorCode::kInternal, Error{0, "the container's init was killed before it could start the command", "its memory or pids limit may be too low to start in"}));
    }
    if (const int code = exit_code_of(*failure_code_); code >= 0) {
      exit_.code = code;
    }
  }
  finish();
}

void Supervisor::finish() {
  const bool record = !exit_path_.empty() && !discarding_;
  if (record) {
    drain_main();
    if (durable_) {
      log_.sync();
    }
    exit_.oom_kills = cgroup_.oom_kills().value_or(0);
    exit_.memory_peak_bytes = cgroup_.memory_peak().value_or(std::nullopt);
    exit_.finished_at = nanoseconds_now();
    exit_.lost_log_bytes = log_.lost_bytes();
    const std::string text = exit_.to_json();
    // A full disk must not keep the end a secret: it is said even where it could not be written, and a helper that is away finds it in the run directory.
    if (!replace_file(exit_path_, text, durable_)) {
      static_cast<void>(replace_file(params_.run_dir + "/exit.json", text, false));
    }
    phase_ = Phase::kExited;
    say_logged(true);
    say("{\"event\":\"exited\",\"exit\":" + text + "}");
    trace::mark("reap, drain, write the exit record, say `exited`");
  }
  phase_ = Phase::kExited;
  clean_up();
  if (discarding_ && pending_) {
    respond(pending_->connection, pending_->id, "{}");
  }
  done_ = true;
}

void Supervisor::clean_up() {
  root_mount_.reset();
  release_private_place(params_.run_dir + "/layers");
  trace::mark("unmount the overlay");
  static_cast<void>(cgroup_.destroy());
  trace::mark("remove the cgroups");
  ::unlinkat(run_dir_.get(), "state.json", 0);
  ::unlinkat(run_dir_.get(), "control.sock", 0);
}

// ---- the main process's streams --------------------------------------------------------------------------------------------------

void Supervisor::open_main_streams() {
  if (terminal_) {
    ::fcntl(console_.get(), F_SETFL, O_RDWR | O_NONBLOCK);
  }
  if (stdin_end_) {
    stdin_.open(std::move(stdin_end_), terminal_);
  }
  if (stdout_) {
    loop_.watch(stdout_.get(), EPOLLIN, [this](std::uint32_t) { pump_main(stdout_.get(), LogChannel::kStdout); });
  }
  if (stderr_) {
    loop_.watch(stderr_.get(), EPOLLIN, [this](std::uint32_t) { pump_main(stderr_.get(), LogChannel::kStderr); });
  }
  for (const auto& [connection, subscriber] : subscribers_) {
    grant_stdin(connection);
  }
}

void Supervisor::grant_stdin(ConnectionId connection) {
  Subscriber& subscriber = subscribers_[connection];
  if (stdin_.was_opened() && !subscriber.stdin_granted) {
    subscriber.stdin_granted = true;
    server_.send(connection, FrameType::kCredit, 0, {reinterpret_cast<const char*>(&kStdinCredit), sizeof kStdinCredit});
  }
}

void Supervisor::pump_main(int fd, LogChannel channel) {
  static std::array<char, 65536> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count > 0) {
    log_.write(channel, {buffer.data(), static_cast<std::size_t>(count)});
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    // EIO of a terminal's master: nobody holds the slave now; it could be opened again by name, but a container whose processes all let go of their terminal is ending.
    close_main_stream(channel == LogChannel::kStdout ? stdout_ : stderr_);
  }
}

void Supervisor::close_main_stream(UniqueFd& stream) {
  if (stream) {
    loop_.forget(stream.get());
    stream.reset();
  }
}

void Supervisor::drain_main() {
  stdin_.close();
  const auto drain = [this](UniqueFd& stream, LogChannel channel) {
    // Everyone who could write is dead: what the pipe holds is the rest. EAGAIN: a copy of the other end was carried out of the container.
    while (stream) {
      const std::uint64_t before = log_.written_bytes() + log_.lost_bytes();
      pump_main(stream.get(), channel);
      if (stream && log_.written_bytes() + log_.lost_bytes() == before) {
        close_main_stream(stream);
      }
    }
  };
  drain(stdout_, LogChannel::kStdout);
  drain(stderr_, LogChannel::kStderr);
}

void Supervisor::say_logged(bool force) {
  const std::uint64_t now = monotonic_nanoseconds();
  if (!force && now - logged_said_at_ < kLoggedIntervalNs) {
    return;
  }
  logged_said_at_ = now;
  const std::string event = "{\"event\":\"logged\",\"size\":" + std::to_string(log_.written_bytes()) + "}";
  for (auto& [connection, subscriber] : subscribers_) {
    // One that has not taken the last one yet gets the newest size when it has.
    if (subscriber.follow && subscriber.said_size != log_.written_bytes() && server_.queued_bytes(connection) == 0) {
      subscriber.said_size = log_.written_bytes();
      server_.send(connection, FrameType::kEvent, 0, event);
    }
  }
}

const char* Supervisor::phase_name() const {
  switch (phase_) {
    case Phase::kSandbox:
    case Phase::kCreating: return "sandbox";
    case Phase::kCreated:
    case Phase::kStarting: return "created";
    case Phase::kRunning: return "running";
    case Phase::kExited: return "exited";
  }
  return "exited";
}

}  // namespace strata::runtime
