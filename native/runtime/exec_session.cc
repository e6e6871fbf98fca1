#include "runtime/exec_session.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/launch.h"

namespace strata::runtime {
namespace {

// How much may wait for one slow reader in the supervisor's memory.
constexpr std::size_t kMaxQueued = 65536;
// How much of a command line is kept to be shown.
constexpr std::size_t kMaxShownCommand = 4096;

std::vector<std::string> shortened(const std::vector<std::string>& args) {
  std::vector<std::string> kept;
  std::size_t room = kMaxShownCommand;
  for (const std::string& arg : args) {
    std::size_t size = std::min(arg.size(), room);
    while (size < arg.size() && size > 0 && (static_cast<unsigned char>(arg[size]) & 0xC0) == 0x80) {
      --size;  // not in the middle of a character
    }
    kept.push_back(arg.substr(0, size));
    room -= std::min(room, size + 1);  // an empty argument counts, too
    if (room == 0) {
      break;
    }
  }
  return kept;
}

Outcome<UniqueFd> open_null(int flags) {
  UniqueFd null(::open("/dev/null", flags | O_CLOEXEC));
  if (!null) {
    return refuse_errno(ErrorCode::kInternal, "open '/dev/null'");
  }
  return null;
}

}  // namespace

int reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

ExecSession::ExecSession(const ExecHost& host, std::uint32_t id, ConnectionId owner, Handlers handlers)
    : host_(host), id_(id), owner_(owner), handlers_(std::move(handlers)), stdin_(host.loop, [this](ConnectionId from, std::uint32_t bytes) {
        const std::uint32_t credit = bytes;
        host_.server.send(from, FrameType::kCredit, id_, {reinterpret_cast<const char*>(&credit), sizeof credit});
      }) {}

ExecSession::~ExecSession() {
  stdin_.close();
  close_stream(stdout_);
  close_stream(stderr_);
  if (channel_.open()) {
    host_.loop.forget(channel_.fd());
  }
  if (between_handle_) {
    host_.loop.forget(between_handle_.get());
  }
  if (pidfd_) {
    host_.loop.forget(pidfd_.get());
  }
}

Done ExecSession::spawn(const ExecParams& params) {
  terminal_ = params.process.terminal;
  attach_stdin_ = params.attach_stdin;
  detached_ = params.detach;
  client_id_ = params.id;
  user_ = params.process.username.empty() ? std::to_string(params.process.uid) + ":" + std::to_string(params.process.gid) : params.process.username;
  command_ = shortened(params.process.args);
  auto [own_end, child_end] = TRY(Channel::make_pair());
  // The pidfd; a terminal, its output, its input.
  reserve_ = TRY(own_end.reserve(terminal_ ? 4 : 1));
  std::vector<UniqueFd> child_stdio;
  UniqueFd input;
  if (!terminal_) {
    const RootIdentity& root = host_.sandbox.root;
    child_stdio.resize(3);
    if (attach_stdin_) {
      TRY(make_pipe(root, child_stdio[0], input));
    } else {
      child_stdio[0] = TRY(open_null(O_RDONLY));
    }
    if (detached_) {
      child_stdio[1] = TRY(open_null(O_WRONLY));
      child_stdio[2] = TRY(open_null(O_WRONLY));
    } else {
      TRY(make_pipe(root, stdout_.end, child_stdio[1]));
      TRY(make_pipe(root, stderr_.end, child_stdio[2]));
      ::fcntl(stdout_.end.get(), F_SETFL, O_NONBLOCK);
      ::fcntl(stderr_.end.get(), F_SETFL, O_NONBLOCK);
    }
  }
  child_ = TRY(SharedPid::make());
  bool in_unified = false;
  between_ = TRY(clone_child(0, host_.cgroup, between_handle_, in_unified));
  if (between_ == 0) {
    run_between(params, child_end, child_stdio, in_unified);
  }
  channel_ = std::move(own_end);
  if (input) {
    stdin_.open(std::move(input), false);
  }
  host_.loop.watch(channel_.fd(), EPOLLIN, [this](std::uint32_t) { on_channel(); });
  host_.loop.watch(between_handle_.get(), EPOLLIN, [this](std::uint32_t) { on_between_ended(); });
  return {};
}

// A process of the host's pid namespace, which the container cannot see. It enters the cgroups, lets go of everything that is the host's and takes the
// container's root before it clones, as its sibling, the one that can be seen: even a container with CAP_SYS_PTRACE finds nothing of the host in it
// (CVE-2016-9962, CVE-2024-21626).
void ExecSession::run_between(const ExecParams& params, Channel& channel, std::vector<UniqueFd>& stdio, bool in_unified) {
  const NamespaceFlags& namespaces = host_.sandbox.namespaces;
  const auto prepare = [&]() -> Done {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    reset_signals();
    static_cast<void>(real_sys().write_file(AT_FDCWD, "/proc/self/oom_score_adj", std::to_string(params.process.oom_score_adj.value_or(host_.oom_score_adj)), 0));
    TRY(classify(host_.cgroup.add_process(0, in_unified), ErrorCode::kCgroupFailed));
    std::vector<int> kept = {channel.fd(), host_.sandbox.pidfd.get(), host_.seccomp};
    for (const UniqueFd& fd : stdio) {
      kept.push_back(fd.get());
    }
    keep_only(kept);
    if (::setns(host_.sandbox.pidfd.get(), joinable_namespaces(namespaces) | CLONE_NEWPID) < 0) {
      return refuse_errno(ErrorCode::kInvalidState, "enter the container's namespaces", "the container is ending");
    }
    if (namespaces.user && (::setgroups(0, nullptr) < 0 || ::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0)) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "become root of the user namespace");
    }
    if (TRY(clone_sibling(0, child_)) == 0) {
      run_child(params, channel, stdio);
    }
    return {};
  };
  if (auto done = prepare(); !done) {
    give_up(channel, done.error());
  }
  ::_exit(0);
}

void ExecSession::run_child(const ExecParams& params, Channel& channel, std::vector<UniqueFd>& stdio) const {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // As init: a session keyring of its own, or the process would hold the supervisor's.
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0);
  Launch launch(real_sys(), channel, params.process);
  if (auto prepared = launch.prepare(stdio, false); !prepared) {
    give_up(channel, prepared.error());
  }
  give_up(channel, launch.execute(host_.seccomp));
}

Outcome<std::optional<Message>> ExecSession::receive() {
  const std::size_t held = reserve_.size();
  reserve_.clear();
  auto received = channel_.receive(false);
  const std::size_t taken = received && *received ? (*received)->fds.size() : 0;
  // Nobody but this thread could take what has just been let go.
  if (auto rest = channel_.reserve(held > taken ? held - taken : 0)) {
    reserve_ = std::move(*rest);
  }
  return received;
}

void ExecSession::on_between_ended() {
  host_.loop.forget(between_handle_.get());
  between_handle_.reset();
  reap(between_);
  between_ = -1;
  if (child_.get() > 0) {
    pid_ = child_.get();
    if (!reserve_.empty()) {
      reserve_.pop_back();
    }
    if (auto handle = open_child(pid_)) {
      pidfd_ = std::move(*handle);
      host_.loop.watch(pidfd_.get(), EPOLLIN, [this](std::uint32_t) { on_reaped(); });
    } else {
      // Nobody would hear of its end.
      ::kill(pid_, SIGKILL);
      status_ = reap(pid_);
    }
  }
  conclude();
}

void ExecSession::on_channel() {
  auto received = receive();
  if (!received && !status_) {
    return;  // nothing there after all
  }
  // Of one that is dead nothing more comes, even where the container has got hold of its end.
  std::optional<Message> message = received ? std::move(*received) : std::nullopt;
  if (message && message->kind == MessageKind::kConsole && message->fds.size() == 1) {
    console_ = std::move(message->fds[0]);
    return;
  }
  if (message && message->kind == MessageKind::kExecuting) {
    executing_ = true;
    return;
  }
  host_.loop.forget(channel_.fd());
  channel_.close();
  if (message && message->kind == MessageKind::kFailed) {
    failure_ = decode_failure(*message);
  } else if (message || !executing_) {
    failure_ = Failure(ErrorCode::kInternal, Error{0, "the process was killed before it could start its program", "the container ended, or its memory or pids limit is too low"});
  }
  conclude();
}

void ExecSession::conclude() {
  if (channel_.open() || between_ > 0) {
    return;
  }
  reserve_.clear();
  if (failure_) {
    if (pid_ < 0 && !status_) {
      status_ = 0;  // there is nothing more to wait for
    }
    handlers_.failed(*this, *failure_);
    end_if_done();
    return;
  }
  started_ = true;
  started_at_ = nanoseconds_now();
  start_time_ = process_start_time(pid_);
  if (terminal_) {
    ::fcntl(console_.get(), F_SETFL, O_RDWR | O_NONBLOCK);
    if (attach_stdin_) {
      stdin_.open(UniqueFd(::fcntl(console_.get(), F_DUPFD_CLOEXEC, 3)), true);
    }
    stdout_.end.reset(::fcntl(console_.get(), F_DUPFD_CLOEXEC, 3));
  }
  handlers_.started(*this);
  if (abandoned_) {
    abandon();
  } else if (detached_) {
    watch_streams();
  } else if (attach_stdin_) {
    host_.server.send(owner_, FrameType::kCredit, id_, {reinterpret_cast<const char*>(&kStdinCredit), sizeof kStdinCredit});
  }
  if (status_) {
    on_reaped();
  }
}

void ExecSession::drain_channel() {
  while (channel_.open()) {
    on_channel();
  }
}

void ExecSession::on_reaped() {
  if (!status_) {
    status_ = reap(pid_);
    host_.loop.forget(pidfd_.get());
    drain_channel();
  }
  stdin_.close();
  if (detached_) {
    close_stream(stdout_);  // what others go on to write to its terminal must not be read for ever
  }
  watch_streams();
  if (stdout_.end) {
    pump(stdout_);
  }
  if (stderr_.end) {
    pump(stderr_);
  }
  end_if_done();
}

bool ExecSession::push_stdin(std::string_view bytes) {
  if (bytes.empty()) {
    stdin_.finish();
    return true;
  }
  return stdin_.push(owner_, bytes);
}

void ExecSession::grant_output(std::uint32_t bytes) {
  credit_ = std::min<std::uint64_t>(credit_ + bytes, std::uint64_t{1} << 40);
  resume_output();
}

void ExecSession::resume_output() {
  watch_streams();
  if (status_) {
    on_reaped();
  }
}

void ExecSession::watch_streams() {
  for (Stream* stream : {&stdout_, &stderr_}) {
    // A stream that is not read must not be watched at all: its hang-up would be reported for ever.
    const bool wanted = stream->end && started_ && !status_ && may_read();
    if (wanted == stream->watched) {
      continue;
    }
    stream->watched = wanted;
    if (wanted) {
      host_.loop.watch(stream->end.get(), EPOLLIN, [this, stream](std::uint32_t) { pump(*stream); });
    } else if (stream->end) {
      host_.loop.forget(stream->end.get());
    }
  }
}

// What a detached one writes to its terminal nobody will ever read; it must not wait for that.
bool ExecSession::may_read() const { return detached_ || (credit_ > 0 && host_.server.queued_bytes(owner_) < kMaxQueued); }

void ExecSession::pump(Stream& stream) {
  if (read_stream(stream)) {
    close_stream(stream);
    host_.server.send(owner_, stream.type, id_, {});
  }
  watch_streams();
}

bool ExecSession::read_stream(Stream& stream) {
  static std::array<char, 32768> buffer;
  while (may_read()) {
    const ssize_t count = ::read(stream.end.get(), buffer.data(), detached_ ? buffer.size() : std::min<std::size_t>(buffer.size(), credit_));
    if (count > 0) {
      credit_ -= detached_ ? 0 : static_cast<std::uint64_t>(count);
      host_.server.send(owner_, stream.type, id_, {buffer.data(), static_cast<std::size_t>(count)});
      if (!status_) {
        return false;  // one chunk a turn while it lives; the rest of what is left afterwards
      }
      continue;
    }
    if (count < 0 && errno == EINTR) {
      continue;
    }
    // A grandchild may keep the stream open for ever: the exec's own output is complete once it is dead and the pipe empty.
    return !(count < 0 && errno == EAGAIN) || status_.has_value();
  }
  // Out of credit: even a dead process's rest waits for its reader; where there is no rest, that is the end. FIONREAD would not see what a terminal has not
  // handed on yet.
  pollfd rest{stream.end.get(), POLLIN, 0};
  return status_ && ::poll(&rest, 1, 0) >= 0 && (rest.revents & POLLIN) == 0;
}

void ExecSession::close_stream(Stream& stream) {
  if (stream.watched) {
    stream.watched = false;
    host_.loop.forget(stream.end.get());
  }
  stream.end.reset();
}

Done ExecSession::resize(ConsoleSize size) {
  if (!console_) {
    return refuse(ErrorCode::kInvalidRequest, "session " + std::to_string(id_) + " has no terminal");
  }
  return resize_console(console_.get(), size);
}

Done ExecSession::signal(int number, bool whole_group) const {
  if (!is_running()) {
    return refuse(ErrorCode::kNoSuchSession, "session " + std::to_string(id_) + " does not run its command");
  }
  // It leads a session of its own. Until it is reaped its number, and so its group's, can be nobody else's.
  const long sent = whole_group ? ::kill(-pid_, number) : ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
  if (sent < 0 && errno != ESRCH) {
    return refuse_errno(ErrorCode::kInternal, "send signal " + std::to_string(number));
  }
  return {};
}

std::string ExecSession::to_json() const {
  JsonWriter json;
  json.begin_object();
  json.field("session", static_cast<std::int64_t>(id_));
  json.field("id", client_id_);
  json.field("pid", static_cast<std::int64_t>(pid_));
  json.field("startTime", start_time_);
  json.field("startedAt", rfc3339(started_at_));
  json.field("command", command_);
  json.field("user", user_);
  json.field("terminal", terminal_);
  json.field("detached", detached_ || abandoned_);
  json.end_object();
  return json.take();
}

std::string ExecSession::end_to_json() const {
  const int status = wait_status();
  JsonWriter json;
  json.begin_object();
  json.field("session", static_cast<std::int64_t>(id_));
  json.field("id", client_id_);
  if (WIFSIGNALED(status)) {
    json.null_field("code");
    json.field("signal", WTERMSIG(status));
  } else {
    json.field("code", WEXITSTATUS(status));
    json.null_field("signal");
  }
  json.field("endedAt", rfc3339(nanoseconds_now()));
  json.end_object();
  return json.take();
}

void ExecSession::abandon() {
  abandoned_ = true;
  stdin_.close();
  close_stream(stdout_);
  close_stream(stderr_);
  console_.reset();  // the last master: the kernel hangs the session up
  end_if_done();
}

void ExecSession::finish_now() {
  if (between_ > 0) {
    ::kill(between_, SIGKILL);  // not reaped yet, so the number is its own
    on_between_ended();
  }
  if (pid_ < 0 && !status_) {
    status_ = 0;
    drain_channel();
  }
  if (!status_) {
    on_reaped();
  }
  if (!ended_) {
    abandoned_ = true;
    for (Stream* stream : {&stdout_, &stderr_}) {
      if (stream->end) {
        close_stream(*stream);
        host_.server.send(owner_, stream->type, id_, {});
      }
    }
    end_if_done();
  }
}

void ExecSession::end_if_done() {
  if (ended_ || !status_ || (started_ && !abandoned_ && (stdout_.end || stderr_.end))) {
    return;
  }
  ended_ = true;
  handlers_.ended(*this);
}

}  // namespace strata::runtime
