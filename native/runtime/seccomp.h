// seccomp: compiling an OCI profile to a BPF program (libseccomp), and loading one.
#pragma once

#include "core/unique_fd.h"
#include "runtime/json.h"

namespace strata::runtime {

// Writes the program (an array of struct sock_filter) of an OCI `linux.seccomp` object to `fd`. Needs some MiB of heap: never in a supervisor.
Done compile_seccomp(const Json& profile, int fd);
// `strata-runtime compile-seccomp`: profile from stdin, program to `path`, replaced atomically.
Done compile_seccomp_file(std::string_view profile, const std::string& path);
// A compiled program in a memfd, made by a process of its own so that the caller's memory stays small.
Outcome<UniqueFd> compile_seccomp_apart(const Json& profile);

// Opens a program file and checks its size.
Outcome<UniqueFd> open_seccomp_program(const std::string& path);
// Loads the program for the calling process, for good. Needs no_new_privs or CAP_SYS_ADMIN. `flags`: SECCOMP_FILTER_FLAG_*. With `notifies`
// the result is the descriptor that notifications are read from, else it is not valid.
Outcome<UniqueFd> load_seccomp(int program, unsigned flags = 0, bool notifies = false);

// The parts of a profile that are no program.
struct SeccompExtras {
  unsigned flags = 0;
  bool notifies = false;
  std::string listener_path, listener_metadata;
};
Outcome<SeccompExtras> read_seccomp_extras(const Json& profile);

}  // namespace strata::runtime
