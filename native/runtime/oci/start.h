// `start`, and the second half of `run`.
#pragma once

#include "runtime/channel.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/container.h"
#include "runtime/oci/context.h"

namespace strata::runtime::oci {

// Where the program itself cannot run (no program for this machine, not for this user), the container has run and ended, with the status that a shell gives
// and the reason on its stderr: engines clean up after that, but leave behind what fails to start.
Done start_container(Context& context, const Container& container);
bool is_for_program_to_tell(const Failure& failure);

// Says kStart on `channel` and returns when the command runs, or why it does not; the poststart hooks ran then.
Done start_over(Context& context, const Container& container, const Bundle& bundle, const Channel& channel);

// Reads init's (or an exec's) last messages up to the end of file, which is the execve. `early`: what was received before.
Done await_execution(Context& context, const SeccompExtras& seccomp, const std::string& state, const Channel& channel);

}  // namespace strata::runtime::oci
