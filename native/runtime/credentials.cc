#include "runtime/credentials.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/capability_names.h"

namespace strata::runtime {
namespace {

constexpr std::uint64_t bit(int capability) { return std::uint64_t{1} << capability; }

Outcome<std::uint64_t> permitted_now() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) < 0) {
    return refuse_errno(ErrorCode::kInternal, "read capabilities");
  }
  return data[0].permitted | std::uint64_t{data[1].permitted} << 32;
}

Done drop_bounding(std::uint64_t keep) {
  // Past the ones known here, so that a newer kernel's capabilities go too; EINVAL is the end of the list.
  for (int capability = 0; capability < 64; ++capability) {
    if ((keep & bit(capability)) == 0 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL && capability > 0) {
        return {};
      }
      return refuse_errno(ErrorCode::kInternal, "drop a capability from the bounding set");
    }
  }
  return {};
}

std::uint64_t bounding_now(std::uint64_t among) {
  std::uint64_t set = 0;
  for (int capability = 0; capability <= kLastCapability; ++capability) {
    if ((among & bit(capability)) != 0 && ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) {
      set |= bit(capability);
    }
  }
  return set;
}

Done become(const UserIdentity& user) {
  if (user.groups.empty()) {
    TRY(drop_groups());
  } else if (::setgroups(user.groups.size(), user.groups.data()) < 0) {
    return refuse_errno(ErrorCode::kUserNotFound, "set additional groups", errno == EINVAL  ? "a group is not in the user namespace's gid map"
                                                                                 : errno == EPERM ? "a user namespace of the own ids alone has no additional groups"
                                                                                                  : "");
  }
  if (::setresgid(user.gid, user.gid, user.gid) < 0) {
    return refuse_errno(ErrorCode::kUserNotFound, "become group " + std::to_string(user.gid), errno == EINVAL ? "it is not in the user namespace's gid map" : "");
  }
  if (::setresuid(user.uid, user.uid, user.uid) < 0) {
    return refuse_errno(ErrorCode::kUserNotFound, "become user " + std::to_string(user.uid), errno == EINVAL ? "it is not in the user namespace's uid map" : "");
  }
  return {};
}

Done set_capabilities(const CapabilitySets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].effective = static_cast<std::uint32_t>(sets.effective >> (32 * half));
    data[half].permitted = static_cast<std::uint32_t>(sets.permitted >> (32 * half));
    data[half].inheritable = static_cast<std::uint32_t>(sets.inheritable >> (32 * half));
  }
  if (::syscall(SYS_capset, &header, data) < 0) {
    return refuse_errno(ErrorCode::kInternal, "set capabilities");
  }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "clear ambient capabilities");
  }
  for (int capability = 0; capability <= kLastCapability; ++capability) {
    if ((sets.ambient & bit(capability)) != 0 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
      return refuse_errno(ErrorCode::kInternal, "raise an ambient capability");
    }
  }
  return {};
}

}  // namespace

Done drop_groups() {
  if (::setgroups(0, nullptr) == 0) {
    return {};
  }
  const int reason = errno;
  const auto permitted = permitted_now();
  // With the capability it is the namespace that denies it, and nobody in there can do it.
  if (reason == EPERM && permitted && (*permitted & bit(CAP_SETGID)) != 0) {
    return {};
  }
  return refuse(ErrorCode::kUserNotFound, "drop additional groups", reason);
}

Done apply_credentials(const UserIdentity& user, const CapabilitySets& wanted) {
  const std::uint64_t possible = TRY(permitted_now());
  CapabilitySets sets = wanted;
  sets.bounding = bounding_now(wanted.bounding);
  sets.permitted &= possible;
  sets.effective &= sets.permitted;
  // What is not in the bounding set cannot be added to inheritable (capset(2)), and ambient needs permitted and inheritable.
  sets.inheritable &= possible & sets.bounding;
  sets.ambient &= sets.permitted & sets.inheritable;
  TRY(drop_bounding(sets.bounding));
  // Leaving uid 0 would clear the permitted set before it could be cut to size.
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "keep capabilities over the change of user");
  }
  TRY(become(user));
  TRY(set_capabilities(sets));
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "end keeping capabilities");
  }
  return {};
}

}  // namespace strata::runtime
