// The first process of a container that was asked to have an init: this program once more, as parent of the command.
//
//   init (init.cc, in the container, privileges dropped) ──execveat(own file)──▶ strata-init, pid 1 ──fork──▶ the command
//
// It hands signals on to the command, reaps whatever loses its parent, and ends as the command did (128 + the signal where one killed it). It is executed from the
// descriptor of a file that nobody can write to (own_binary.h), so nothing is added to the root file system, and the container finds at /proc/1/exe what it
// cannot change. Before the command runs, nothing but an empty address space and the container's own descriptors is left here for it to look at.
#pragma once

#include <string>
#include <vector>

#include "runtime/channel.h"

namespace strata::runtime {

// What it is called, by which main() knows it.
inline constexpr char kInitProgramName[] = "strata-init";

// Becomes it. `program`: a descriptor of this program's file. The channel's end of file comes when the command is executed, kFailed where it cannot be.
Failure execute_init_program(int program, const Channel& channel, const std::vector<std::string>& args, const std::vector<std::string>& environment);

// Its main().
int run_init_program(int argc, char** argv);

}  // namespace strata::runtime
