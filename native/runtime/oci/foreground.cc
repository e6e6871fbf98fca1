#include "runtime/oci/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "runtime/failure.h"

namespace strata::runtime::oci {
namespace {

// The caller's terminal in raw mode while this lives.
class RawTerminal {
 public:
  explicit RawTerminal(bool wanted) : active_(wanted && ::tcgetattr(0, &before_) == 0) {
    if (active_) {
      termios raw = before_;
      ::cfmakeraw(&raw);
      raw.c_oflag |= OPOST;  // the container's terminal leaves line feeds plain, so that a pipe gets them so
      ::tcsetattr(0, TCSANOW, &raw);
    }
  }
  ~RawTerminal() {
    if (active_) {
      ::tcsetattr(0, TCSANOW, &before_);
    }
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_;
};

void copy_window_size(int console) {
  winsize size{};
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) {
    ::ioctl(console, TIOCSWINSZ, &size);
  }
}

// False where `from` has ended.
bool pump(int from, int to) {
  std::array<char, 16384> buffer;
  const ssize_t count = ::read(from, buffer.data(), buffer.size());
  if (count <= 0) {
    return count < 0 && (errno == EINTR || errno == EAGAIN);
  }
  for (ssize_t done = 0; done < count;) {
    const ssize_t written = ::write(to, buffer.data() + done, static_cast<std::size_t>(count - done));
    if (written < 0 && errno != EINTR) {
      return false;
    }
    done += written > 0 ? written : 0;
  }
  return true;
}

// Everything that was written before the end.
void drain(int console) {
  for (int pieces = 0; pieces < 4096; ++pieces) {
    pollfd ready{console, POLLIN, 0};
    if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLIN) == 0 || !pump(console, 1)) {
      return;
    }
  }
}

}  // namespace

UniqueFd take_signals() {
  sigset_t all;
  ::sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU}) {
    ::sigdelset(&all, fault);
  }
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  return UniqueFd(::signalfd(-1, &all, SFD_CLOEXEC));
}

int stay_in_foreground(pid_t pid, const UniqueFd& signals, UniqueFd console, NotifyRelay relay) {
  const RawTerminal raw(console.valid());
  if (console) {
    copy_window_size(console.get());
  }
  bool reads_input = console.valid();
  for (;;) {
    // poll(2) leaves descriptors below 0 alone.
    std::array<pollfd, 4> wait{pollfd{signals.get(), POLLIN, 0}, pollfd{console.get(), POLLIN, 0}, pollfd{reads_input ? 0 : -1, POLLIN, 0},
                               pollfd{relay.fd(), POLLIN, 0}};
    if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) {
      return 1;
    }
    if (wait[1].revents != 0 && !pump(console.get(), 1)) {
      console.reset();  // the last one who had the terminal closed it
      reads_input = false;
    }
    if (wait[2].revents != 0 && !pump(0, console.get())) {
      reads_input = false;
    }
    if (wait[3].revents != 0) {
      relay.take(::getpid());
    }
    if ((wait[0].revents & POLLIN) == 0) {
      continue;
    }
    signalfd_siginfo info{};
    if (::read(signals.get(), &info, sizeof info) != sizeof info) {
      continue;
    }
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH && console) {
      copy_window_size(console.get());
    } else if (signal != SIGCHLD) {
      ::kill(pid, signal);
      continue;
    }
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended == pid) {
        if (console) {
          drain(console.get());
        }
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      }
    }
  }
}

}  // namespace strata::runtime::oci
