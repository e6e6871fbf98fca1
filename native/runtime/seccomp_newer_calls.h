// System calls that are younger than a profile. Its author cannot have meant to forbid what was not there, and a C library that tries a new call goes
// on with the old one for ENOSYS alone: EPERM, the default of most profiles, breaks programs in every image that is newer than the profile. As runc.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

namespace strata::runtime {

// The greatest number that a profile names on an architecture.
struct NewestCall {
  std::uint32_t architecture = 0;  // AUDIT_ARCH_*
  std::uint32_t number = 0;
};

// What goes before a filter: ENOSYS for greater numbers, all else falls through to the filter.
[[nodiscard]] std::vector<sock_filter> refuse_newer_calls(const std::vector<NewestCall>& newest);

}  // namespace strata::runtime
