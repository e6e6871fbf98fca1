// Times as the protocol writes them, and the identity of a process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace strata::runtime {

// Since the epoch. For what is told and written: the host's clock may be set, so nothing may be waited for by it.
std::uint64_t nanoseconds_now();
// Of a clock that only ever goes on.
std::uint64_t monotonic_nanoseconds();
// RFC 3339 in UTC with nanoseconds.
std::string rfc3339(std::uint64_t nanoseconds);
// Field 22 of /proc/PID/stat (clock ticks since boot); 0 where the process is gone.
std::uint64_t process_start_time(pid_t pid);
// The text of /proc/sys/kernel/random/boot_id.
std::string boot_id();

}  // namespace strata::runtime
