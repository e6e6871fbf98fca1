#include "runtime/console.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include <array>

#include "core/path.h"

namespace strata::runtime {

Outcome<Console> open_console(Sys& sys, const std::optional<ConsoleSize>& size) {
  Console console;
  auto master = sys.open_at(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, kResolveInRoot);
  if (!master) {
    master.error().hint = "a terminal needs a devpts mount on /dev/pts with ptmxmode=0666";
  }
  console.master = TRY(classify(std::move(master), ErrorCode::kMountFailed, "make a terminal", "/dev/pts/ptmx"));
  // An image or a volume may have something else there, which must not be sent to whoever asked for a terminal (CVE-2025-52565).
  const struct stat multiplexer = TRY(sys.stat_fd(console.master.get()));
  if (!S_ISCHR(multiplexer.st_mode) || multiplexer.st_rdev != makedev(5, 2) || TRY(sys.file_system_of(console.master.get())) != DEVPTS_SUPER_MAGIC) {
    return refuse(ErrorCode::kMountFailed, "the container's '/dev/pts/ptmx' is no terminal multiplexer", ENODEV, "a terminal needs a devpts mount on /dev/pts", "/dev/pts/ptmx");
  }
  int unlock = 0;
  if (::ioctl(console.master.get(), TIOCSPTLCK, &unlock) < 0) {
    return refuse_errno(ErrorCode::kInternal, "unlock the terminal");
  }
  console.slave.reset(::ioctl(console.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!console.slave) {
    return refuse_errno(ErrorCode::kInternal, "open the terminal's other end");
  }
  if (size) {
    TRY(resize_console(console.master.get(), *size));
  }
  return console;
}

namespace {

// No link on the way: what is masked and read-only by now must not get the terminal over it, or under what is mounted on it (CVE-2025-52565).
Result<UniqueFd> open_console_file(Sys& sys, int root) {
  const UniqueFd dev = TRY(sys.open_at(root, "/dev", O_PATH | O_DIRECTORY, 0, kResolveInRoot | kNoSymlinks));
  auto found = sys.open_at(dev.get(), "console", O_PATH, 0, kResolveInRoot | kNoSymlinks);
  if (found || found.error().errno_value != ENOENT) {
    return found;
  }
  if (auto made = sys.open_at(dev.get(), "console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, kResolveInRoot); !made) {
    return made;
  }
  return sys.open_at(dev.get(), "console", O_PATH, 0, kResolveInRoot | kNoSymlinks);
}

}  // namespace

Done bind_console(Sys& sys, int slave) {
  const UniqueFd mount = TRY(classify(sys.clone_tree(slave, "", false), ErrorCode::kMountFailed, "bind the terminal to '/dev/console'"));
  const UniqueFd root = TRY(classify(sys.open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0), ErrorCode::kMountFailed));
  const UniqueFd target = TRY(classify(open_console_file(sys, root.get()), ErrorCode::kMountFailed, "make '/dev/console'", "/dev/console"));
  return classify(sys.attach(mount.get(), target.get()), ErrorCode::kMountFailed, "bind the terminal to '/dev/console'");
}

Done take_terminal(int slave) {
  if (::ioctl(slave, TIOCSCTTY, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "take the controlling terminal");
  }
  return {};
}

Done leave_line_feeds_plain(int slave) {
  // The kernel's struct termios: flags of input, of output, and what differs from one architecture to another. glibc's tcsetattr(3) asks for a third call.
  std::array<unsigned, 32> settings{};
  if (::ioctl(slave, TCGETS, settings.data()) < 0) {
    return refuse_errno(ErrorCode::kInternal, "read the settings of the terminal");
  }
  settings[1] &= ~static_cast<unsigned>(ONLCR);
  if (::ioctl(slave, TCSETS, settings.data()) < 0) {
    return refuse_errno(ErrorCode::kInternal, "change the settings of the terminal");
  }
  return {};
}

Done resize_console(int master, ConsoleSize size) {
  winsize window{};
  window.ws_col = size.columns;
  window.ws_row = size.rows;
  if (::ioctl(master, TIOCSWINSZ, &window) < 0) {
    return refuse_errno(ErrorCode::kInternal, "resize the terminal");
  }
  return {};
}

}  // namespace strata::runtime
