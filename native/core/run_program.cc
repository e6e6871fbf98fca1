#include "run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "unique_fd.h"

namespace strata {

namespace {

int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

struct Pipe {
  UniqueFd reader, writer;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return fail_errno("pipe 'output'");
  }
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void redirect(int from, int to) { ::posix_spawn_file_actions_adddup2(&actions_, from, to); }
  void open_null(int fd) { ::posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDWR, 0); }

  Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments, const ProgramOptions& options) {
    if (!options.directory.empty()) {
      ::posix_spawn_file_actions_addchdir_np(&actions_, options.directory.c_str());
    }
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    std::vector<char*> argv{const_cast<char*>((options.own_name.empty() ? program : options.own_name).c_str())};
    for (const std::string& argument : arguments) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    const std::vector<std::string> variables =
        options.environment.value_or(std::vector<std::string>{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"});
    std::vector<char*> environment;
    for (const std::string& variable : variables) {
      environment.push_back(const_cast<char*>(variable.c_str()));
    }
    environment.push_back(nullptr);
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, program.c_str(), &actions_, &attributes_, argv.data(), environment.data());
    if (error != 0) {
      return fail(error, "spawn '" + program + "'");
    }
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// False at the end of the stream.
bool take(int fd, std::string& text, size_t most) {
  std::array<char, 16384> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    text.append(buffer.data(), std::min(static_cast<size_t>(got), most - std::min(most, text.size())));
    return true;
  }
  return got < 0 && (errno == EINTR || errno == EAGAIN);
}

void drain(int fd, std::string& text, size_t most) {
  if (fd < 0) {
    return;
  }
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  pollfd ready{fd, POLLIN, 0};
  // A daemon left behind might write for ever: one pipe's worth is what can have been there.
  for (int pieces = 0; pieces < 64 && ::poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0; ++pieces) {
    if (!take(fd, text, most)) {
      return;
    }
  }
}

// The calling thread writes to a pipe whose reader may have gone: EPIPE is wanted, not the signal.
class NoSigpipe {
 public:
  NoSigpipe() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~NoSigpipe() {
    const timespec now{};
    ::sigtimedwait(&set_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t set_{}, before_{};
};

constexpr int64_t kLookMs = 10;  // where no descriptor tells of the end

bool has_ended(pid_t pid) {
  siginfo_t found{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &found, WEXITED | WNOHANG | WNOWAIT) != 0 || found.si_pid == pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Result<ProgramRun> run_program(const std::string& program, const std::vector<std::string>& arguments, const ProgramOptions& options) {
  const NoSigpipe no_sigpipe;
  Pipe input;
  Pipe output = TRY(make_pipe());
  Pipe errors = TRY(make_pipe());
  SpawnPlan plan;
  if (options.has_input) {
    input = TRY(make_pipe());
    plan.redirect(input.reader.get(), 0);
  } else {
    plan.open_null(0);
  }
  plan.redirect(output.writer.get(), 1);
  plan.redirect(errors.writer.get(), 2);
  const pid_t pid = TRY(plan.spawn(program, arguments, options));
  // Until it is waited for, the pid is ours and cannot be reused. A seccomp filter of old does not know the call.
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  input.reader.reset();
  output.writer.reset();
  errors.writer.reset();
  if (input.writer) {
    ::fcntl(input.writer.get(), F_SETFL, O_NONBLOCK);
  }

  ProgramRun run;
  size_t sent = 0;
  const int64_t deadline = options.timeout_ms > 0 ? monotonic_ms() + options.timeout_ms : INT64_MAX;
  for (;;) {
    if (input.writer && sent == options.input.size()) {
      input.writer.reset();
    }
    // poll(2) leaves descriptors below 0 alone.
    std::array<pollfd, 4> wait{pollfd{handle.get(), POLLIN, 0}, pollfd{output.reader.get(), POLLIN, 0}, pollfd{errors.reader.get(), POLLIN, 0},
                               pollfd{input.writer.get(), POLLOUT, 0}};
    const int64_t left = deadline - monotonic_ms();
    if (left <= 0) {
      ::kill(pid, SIGKILL);
      wait_for(pid);
      return fail(ETIMEDOUT, "run '" + program + "'", "it did not end within " + std::to_string(options.timeout_ms) + " ms and was killed");
    }
    ::poll(wait.data(), wait.size(), static_cast<int>(std::min<int64_t>(left, handle ? 3'600'000 : kLookMs)));
    if (wait[1].revents != 0 && !take(output.reader.get(), run.output, options.most_output)) {
      output.reader.reset();
    }
    if (wait[2].revents != 0 && !take(errors.reader.get(), run.errors, options.most_errors)) {
      errors.reader.reset();
    }
    if ((wait[3].revents & POLLOUT) != 0) {
      const ssize_t written = ::write(input.writer.get(), options.input.data() + sent, options.input.size() - sent);
      if (written > 0) {
        sent += static_cast<size_t>(written);
      } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
        input.writer.reset();
      }
    } else if (wait[3].revents != 0) {
      input.writer.reset();  // it does not read its input: its own choice
    }
    if (wait[0].revents != 0 || (!handle && has_ended(pid))) {
      break;
    }
  }
  run.exit_code = wait_for(pid);
  drain(output.reader.get(), run.output, options.most_output);
  drain(errors.reader.get(), run.errors, options.most_errors);
  return run;
}

}  // namespace strata
