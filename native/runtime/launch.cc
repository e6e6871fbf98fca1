#include "runtime/launch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <csignal>

#include "runtime/command.h"
#include "runtime/console.h"
#include "runtime/credentials.h"
#include "runtime/environment.h"
#include "runtime/init_program.h"
#include "runtime/oci_process_extras.h"
#include "runtime/seccomp.h"
#include "runtime/trace.h"

namespace strata::runtime {
namespace {

bool is_null_device(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3); }

// What is not wanted goes to and comes from the host's /dev/null, whose mode and owner root in the container could change through the descriptor.
Done use_own_null(int fd) {
  // The image or the container may have put anything there: a fifo that blocks, another device.
  const UniqueFd own(::open("/dev/null", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  // None there, or something else that cannot be opened so: the host's stays, as it does in a container without devices.
  const bool none = !own && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO || errno == EACCES);
  if (!own && !none) {
    return refuse_errno(ErrorCode::kInternal, "open the container's /dev/null");
  }
  if (struct stat found {}; own && ::fstat(own.get(), &found) == 0 && is_null_device(found)) {
    if (::dup2(own.get(), fd) < 0) {
      return refuse_errno(ErrorCode::kInternal, "give the process the container's /dev/null");
    }
  }
  return {};
}

// What execve would say, as far as root can tell.
int refusal_of(const std::string& path) {
  if (::access(path.c_str(), X_OK) < 0) {
    return errno;
  }
  return is_directory(path) ? EACCES : 0;
}

Done directory_refused(const std::string& directory, int reason) {
  errno = reason;
  return refuse_errno(ErrorCode::kWorkingDirectory, "enter the working directory '" + directory + "'", reason == ENOENT ? "it does not exist in the container" : "",
                      directory);
}

}  // namespace

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    ::sigaction(signal, &action, nullptr);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Done Launch::prepare(const std::vector<UniqueFd>& stdio, bool bind_to_dev_console) {
  ::setsid();
  user_ = TRY(look_up_user(sys_, process_));
  std::vector<std::string> given = process_.env;
  if (options_.listen_fds > 0) {  // sd_listen_fds(3): whose pid it is not leaves them alone
    given.push_back("LISTEN_FDS=" + std::to_string(options_.listen_fds));
    given.push_back("LISTEN_PID=" + std::to_string(::getpid()));
  }
  environment_ = complete_environment(given, user_.home);
  if (process_.terminal) {
    return use_terminal(bind_to_dev_console);
  }
  if (!options_.inherits_streams) {
    TRY(use_descriptors(stdio));
  }
  return own_streams();
}

Done Launch::use_terminal(bool bind_to_dev_console) {
  const Console console = TRY(open_console(sys_, process_.console_size));
  if (bind_to_dev_console) {
    TRY(bind_console(sys_, console.slave.get()));
  }
  if (options_.plain_line_feeds) {
    TRY(leave_line_feeds_plain(console.slave.get()));
  }
  TRY(take_terminal(console.slave.get()));
  // Or a user that is not root could not open its own /dev/tty's file, nor /dev/stdout.
  best_effort(::fchown(console.slave.get(), user_.uid, static_cast<gid_t>(-1)));
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(console.slave.get(), fd) < 0) {
      return refuse_errno(ErrorCode::kInternal, "use the terminal");
    }
  }
  return channel_->send(MessageKind::kConsole, {}, {console.master.get()});
}

// As runc: the caller's pipes, sockets and files belong to the process's user, or /dev/stdout could not be opened by name. Never a device of the host.
Done Launch::own_streams() {
  for (int fd = 0; fd < 3; ++fd) {
    struct stat status {};
    if (::fstat(fd, &status) < 0) {
      continue;
    }
    if (is_null_device(status)) {
      TRY(use_own_null(fd));
    } else if (user_.uid != 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))) {
      best_effort(::fchown(fd, user_.uid, static_cast<gid_t>(-1)));
    }
  }
  return {};
}

Done Launch::check_command() {
  struct stat status {};
  const bool is_there = ::stat(process_.cwd.c_str(), &status) == 0;
  if (!is_there && (errno == ENOENT || errno == ENOTDIR)) {
    return directory_refused(process_.cwd, errno);
  }
  if (is_there && !S_ISDIR(status.st_mode)) {
    return directory_refused(process_.cwd, ENOTDIR);
  }
  const std::string& command = process_.args.front();
  if (command.find('/') != std::string::npos) {
    // A relative one starts from a directory that is entered as the user later; it is told about then.
    const int reason = command.front() == '/' ? refusal_of(command) : 0;
    return reason != 0 && reason != ELOOP ? Done(std::unexpected(not_started(command, reason))) : Done();
  }
  std::string path = value_of(environment_, "PATH");
  std::string refused;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string folder = path.substr(0, colon);
    const std::string candidate = folder + "/" + command;
    const bool absolute = folder.starts_with('/');
    const int reason = absolute ? refusal_of(candidate) : 0;
    if (reason == 0) {
      return {};
    }
    if (reason == EACCES && !is_directory(candidate) && refused.empty()) {
      refused = candidate;
    }
    if (colon == std::string::npos) {
      break;
    }
    path = path.substr(colon + 1);
  }
  return std::unexpected(refused.empty() ? not_in_path(command, value_of(environment_, "PATH")) : not_started(refused, EACCES));
}

Done Launch::use_descriptors(const std::vector<UniqueFd>& stdio) {
  if (stdio.size() != 3) {
    return refuse(ErrorCode::kInternal, "three descriptors for the standard streams were expected");
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(stdio[static_cast<std::size_t>(fd)].get(), fd) < 0) {
      return refuse_errno(ErrorCode::kInternal, "use the standard streams");
    }
  }
  return {};
}

Done Launch::set_limits() {
  for (const auto& [resource, limit] : process_.rlimits) {
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0) {
      continue;
    }
    if (errno != EPERM || !options_.drops_impossible_limits) {
      return refuse_errno(ErrorCode::kLimitRejected, "set resource limit " + std::to_string(resource),
                          errno == EPERM ? "a hard limit above this machine's needs CAP_SYS_RESOURCE, which it does not give" : "");
    }
    rlimit present{};
    ::getrlimit(static_cast<__rlimit_resource>(resource), &present);
    const rlimit possible{std::min(limit.rlim_cur, present.rlim_max), present.rlim_max};
    best_effort(::setrlimit(static_cast<__rlimit_resource>(resource), &possible));
    TRY(channel_->send(MessageKind::kWarning, "resource limit " + std::to_string(resource) + " stays at " + std::to_string(present.rlim_max) +
                                                  ": raising a hard limit needs CAP_SYS_RESOURCE, which this machine does not give"));
  }
  return {};
}

Done Launch::use_filter(int seccomp) {
  const UniqueFd listener(TRY(load_seccomp(seccomp, options_.seccomp_flags, options_.has_listener)));
  return listener ? channel_->send(MessageKind::kListener, {}, {listener.get()}) : Done();
}

Done Launch::enter_working_directory() const {
  if (::chdir(process_.cwd.c_str()) < 0) {
    return directory_refused(process_.cwd, errno);
  }
  // A cwd like /proc/self/fd/5 could lead out of the root through a descriptor that is still open here (CVE-2024-21626).
  char where[PATH_MAX];
  if (::syscall(SYS_getcwd, where, sizeof where) < 0 || where[0] != '/') {
    return refuse(ErrorCode::kWorkingDirectory, "the working directory '" + process_.cwd + "' lies outside of the container", 0, "", process_.cwd);
  }
  return {};
}

Done Launch::restrict(int seccomp) {
  TRY(set_limits());
  if (process_.io_priority) {
    TRY(apply_io_priority(*process_.io_priority));
  }
  if (process_.scheduler) {
    TRY(apply_scheduler(*process_.scheduler));
  }
  TRY(apply_security_label(process_));
  ::umask(process_.umask.value_or(022));
  if (process_.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "set no_new_privs");
  }
  // As runc: root's way in or the user's, whichever there is (`docker run --user 1000 --workdir /root`, a home on NFS). Root's comes before a filter, which
  // may refuse what it takes.
  const auto entered = enter_working_directory();
  if (!entered && entered.error().error.errno_value != EACCES) {
    return entered;
  }
  // Without no_new_privs loading a filter takes CAP_SYS_ADMIN, which the next step may drop.
  const bool early = seccomp >= 0 && !process_.no_new_privileges;
  if (early) {
    TRY(use_filter(seccomp));
  }
  TRY(apply_credentials(user_, process_.capabilities));
  if (options_.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);  // the kernel forgets it at every change of credentials
  }
  if (!entered) {
    TRY(enter_working_directory());
  }
  ::syscall(SYS_close_range, 3U + options_.preserved_fds, ~0U, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
  return {};
}

Failure Launch::execute(int seccomp, const std::function<Done()>& last) {
  if (auto done = restrict(seccomp); !done) {
    return std::move(done).error();
  }
  trace::mark("drop privileges, enter the working directory");
  const bool late = seccomp >= 0 && process_.no_new_privileges;
  if (last) {
    auto done = late ? use_filter(seccomp) : Done();
    done = done ? last() : std::move(done);
    if (!done) {
      return std::move(done).error();
    }
  }
  // Before the filter, which need not allow it; the end of file that follows is execve's.
  if (auto said = channel_->send(MessageKind::kExecuting); !said) {
    return std::move(said).error();
  }
  if (late && !last) {
    if (auto loaded = use_filter(seccomp); !loaded) {
      return std::move(loaded).error();
    }
  }
  trace::mark("load the seccomp filter; execve follows");
  return options_.init_program < 0 ? execute_command(process_.args, environment_) : execute_init_program(options_.init_program, *channel_, process_.args, environment_);
}

}  // namespace strata::runtime
