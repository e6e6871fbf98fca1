#include "runtime/init_program.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <optional>

#include "runtime/command.h"

namespace strata::runtime {
namespace {

// Where it finds the channel.
constexpr int kChannelFd = 3;

// Of a fault of its own: these must end it, and those of the terminal must not stop it.
constexpr std::array kOwnSignals = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};

int status_of(int wait_status) { return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status); }

// Whatever has ended; the command's status once that has.
std::optional<int> reap_all(pid_t command) {
  std::optional<int> status;
  int one = 0;
  while (true) {
    const pid_t pid = ::waitpid(-1, &one, WNOHANG);
    if (pid <= 0 && !(pid < 0 && errno == EINTR)) {
      return status;
    }
    if (pid == command) {
      status = status_of(one);
    }
  }
}

// In the child: a process group of its own, in the foreground of the terminal where there is one, so that what is typed there (Ctrl-C) reaches it once.
[[noreturn]] void run_command(Channel& channel, int parent_is_ready, const sigset_t& mask, const std::vector<std::string>& args) {
  ::setpgid(0, 0);
  ::tcsetpgrp(STDIN_FILENO, ::getpid());
  ::signal(SIGTTIN, SIG_DFL);
  ::signal(SIGTTOU, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  // Until its parent has let go of the channel, the container's program could take it from there.
  char none = 0;
  while (::read(parent_is_ready, &none, 1) < 0 && errno == EINTR) {
  }
  const Failure failure = execute_command(args, own_environment());
  static_cast<void>(channel.send(MessageKind::kFailed, encode_failure(failure)));
  ::_exit(exit_code_of(failure.code) < 0 ? 125 : exit_code_of(failure.code));
}

int serve(pid_t command, const sigset_t& signals) {
  while (true) {
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal == SIGCHLD) {
      if (const auto status = reap_all(command)) {
        return *status;
      }
    } else if (signal > 0) {
      ::kill(command, signal);
    }
  }
}

}  // namespace

Failure execute_init_program(int program, const Channel& channel, const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  const UniqueFd file(::fcntl(program, F_DUPFD_CLOEXEC, kChannelFd + 1));
  // The channel may have that number already, with the flag that would close it.
  if (!file || (channel.fd() == kChannelFd ? ::fcntl(kChannelFd, F_SETFD, 0) : ::dup2(channel.fd(), kChannelFd)) < 0) {
    return Failure(Error{errno, "prepare the container's init", ""});
  }
  std::vector<std::string> words = {kInitProgramName, "--"};
  words.insert(words.end(), args.begin(), args.end());
  const std::vector<char*> arguments = pointers(words);
  const std::vector<char*> entries = pointers(environment);
  ::syscall(SYS_execveat, file.get(), "", arguments.data(), entries.data(), AT_EMPTY_PATH);
  return Failure(Error{errno, "start the container's init", errno == EACCES ? "the runtime's file must be executable for everybody" : ""});
}

int run_init_program(int argc, char** argv) {
  if (argc < 3) {
    return 125;
  }
  ::prctl(PR_SET_NAME, kInitProgramName, 0, 0, 0);
  const std::vector<std::string> args(argv + 2, argv + argc);
  Channel channel{UniqueFd(kChannelFd)};
  ::fcntl(kChannelFd, F_SETFD, FD_CLOEXEC);
  sigset_t signals;
  sigset_t before;
  ::sigfillset(&signals);
  for (const int signal : kOwnSignals) {
    ::sigdelset(&signals, signal);
  }
  // A blocked signal waits even for a first process, which would never see one that it has no handler for.
  ::sigprocmask(SIG_SETMASK, &signals, &before);
  ::signal(SIGTTIN, SIG_IGN);
  ::signal(SIGTTOU, SIG_IGN);
  std::array<int, 2> ready{};
  const pid_t command = ::pipe2(ready.data(), O_CLOEXEC) < 0 ? -1 : ::fork();
  if (command < 0) {
    static_cast<void>(channel.send(MessageKind::kFailed, encode_failure(Failure(Error{errno, "fork the command", "the limit of processes may be too low"}))));
    return 125;
  }
  if (command == 0) {
    ::close(ready[1]);
    run_command(channel, ready[0], before, args);
  }
  channel.close();
  ::close(ready[0]);
  ::close(ready[1]);
  return serve(command, signals);
}

}  // namespace strata::runtime
