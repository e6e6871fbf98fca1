// `create`, and the first half of `run`.
#pragma once

#include "runtime/channel.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/container.h"
#include "runtime/oci/context.h"
#include "runtime/oci/passed_fds.h"

namespace strata::runtime::oci {

struct CreateOptions {
  std::string id, bundle, pid_file, console_socket, pidfd_socket;
  PassedFds passed_fds;
  bool no_pivot = false, new_keyring = true;
  bool foreground = false;     // the caller's terminal is the container's
  bool starts_itself = false;  // `run`: kStart comes from this process, on `channel`
};

struct Created {
  Container container;
  Bundle bundle;
  UniqueFd init;     // pidfd
  Channel channel;   // open where the container starts itself
  UniqueFd console;  // the terminal's master, where no --console-socket takes it
};

// On an error nothing is left behind.
Outcome<Created> create_container(Context& context, const CreateOptions& options);

// Whether the options and process.terminal go together.
Done check_terminal(const OciProcess& process, const CreateOptions& options);

// Sends the master of a terminal to whoever listens at --console-socket.
Done send_console(const std::string& socket_path, int master);
// Sends the descriptor of a process to whoever listens at --pidfd-socket; an empty path: nobody does.
Done send_pidfd(const std::string& socket_path, int pidfd);

}  // namespace strata::runtime::oci
