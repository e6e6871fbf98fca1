// The last steps before a program of the container runs, common to init and to the children of exec.
#pragma once

#include <functional>

#include "core/sys.h"
#include "runtime/channel.h"
#include "runtime/user_lookup.h"

namespace strata::runtime {

struct LaunchOptions {
  bool die_with_parent = true;          // the supervisor's death is the container's
  bool inherits_streams = false;        // 0, 1 and 2 are the process's own already
  bool drops_impossible_limits = false; // a resource limit that this machine cannot give is a warning
  unsigned preserved_fds = 0;           // from 3 on
  unsigned listen_fds = 0;              // the first of them are sockets for socket activation: the environment says so
  unsigned seccomp_flags = 0;           // SECCOMP_FILTER_FLAG_*
  bool has_listener = false;            // the filter notifies: its descriptor goes out as kListener
  int init_program = -1;                // a descriptor of this program's own file: it becomes the parent of the command (init_program.h)
  bool plain_line_feeds = false;        // the terminal puts no carriage return before one: whoever shows its output does
};

class Launch {
 public:
  // The caller is inside the container's namespaces and root. `stdio` are descriptors for 0, 1 and 2, unused for a terminal.
  Launch(Sys& sys, const Channel& channel, const OciProcess& process, LaunchOptions options = {})
      : sys_(sys), channel_(&channel), process_(process), options_(options) {}

  // What can be refused before anything is given up: session, stdio or terminal (whose master goes to the supervisor), who the user is.
  // Settles the environment.
  Done prepare(const std::vector<UniqueFd>& stdio, bool bind_to_dev_console);
  [[nodiscard]] const std::vector<std::string>& environment() const { return environment_; }
  // Whether command and working directory are there at all; `start` would be late to find out: engines leave a container that fails there behind.
  Done check_command();
  // Limits, credentials, seccomp, execve. Returns only with a failure. `seccomp` -1: none. `last`: what runs with all that, right before.
  Failure execute(int seccomp, const std::function<Done()>& last = {});

 private:
  Done use_terminal(bool bind_to_dev_console);
  Done own_streams();
  Done use_descriptors(const std::vector<UniqueFd>& stdio);
  Done set_limits();
  [[nodiscard]] Done enter_working_directory() const;
  Done restrict(int seccomp);
  Done use_filter(int seccomp);

  Sys& sys_;
  const Channel* channel_;
  const OciProcess& process_;
  LaunchOptions options_;
  UserIdentity user_;
  std::vector<std::string> environment_;
};

// Ignored signals are inherited by execve, and a supervisor ignores several: everything back to how a process expects it.
void reset_signals();

}  // namespace strata::runtime
