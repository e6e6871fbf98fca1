#include "runtime/capability_names.h"

#include <array>

namespace strata::runtime {
namespace {

// In the kernel's order (include/uapi/linux/capability.h), without "CAP_".
constexpr std::array<std::string_view, kLastCapability + 1> kNames = {
    "CHOWN",        "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",       "FSETID",         "KILL",         "SETGID",
    "SETUID",       "SETPCAP",      "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK",     "IPC_OWNER",    "SYS_MODULE",      "SYS_RAWIO",    "SYS_CHROOT",     "SYS_PTRACE",   "SYS_PACCT",
    "SYS_ADMIN",    "SYS_BOOT",     "SYS_NICE",        "SYS_RESOURCE", "SYS_TIME",       "SYS_TTY_CONFIG", "MKNOD",
    "LEASE",        "AUDIT_WRITE",  "AUDIT_CONTROL",   "SETFCAP",      "MAC_OVERRIDE",   "MAC_ADMIN",    "SYSLOG",
    "WAKE_ALARM",   "BLOCK_SUSPEND", "AUDIT_READ",     "PERFMON",      "BPF",            "CHECKPOINT_RESTORE",
};

}  // namespace

int capability_number(std::string_view name) {
  if (!name.starts_with("CAP_")) {
    return -1;
  }
  name.remove_prefix(4);
  for (int i = 0; i <= kLastCapability; ++i) {
    if (kNames[static_cast<std::size_t>(i)] == name) {
      return i;
    }
  }
  return -1;
}

std::string capability_name(int number) { return "CAP_" + std::string(kNames[static_cast<std::size_t>(number)]); }

}  // namespace strata::runtime
