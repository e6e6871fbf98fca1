// Where the time goes: with `--trace FILE` each process on a start's path appends a line as it has done a step, in one write:
//
//   12345.678901 strata-init 4711:1 mount proc on /proc
//
// CLOCK_MONOTONIC in seconds, process, pid of who opened the trace and pid of who writes, which in a pid namespace is 1; what was done just now.
//
// Without it a mark is a test of one integer. A trace is of this process and its children, as its environment is; so it is not handed about.
#pragma once

#include <string>

#include "runtime/failure.h"

namespace strata::runtime::trace {

// Appends to `file`; empty: nothing. Not inherited by what is executed.
Done open(const std::string& file);
// The descriptor that keep_only() must leave open, or -1.
int fd();
inline bool is_on() { return fd() >= 0; }
void mark(const char* done);
void mark(const std::string& done);

}  // namespace strata::runtime::trace
