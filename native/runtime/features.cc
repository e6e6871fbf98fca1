#include "runtime/features.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cgroup_host.h"
#include "core/sys.h"
#include "runtime/json.h"

namespace strata::runtime {
namespace {

bool exists(const char* path) { return ::access(path, F_OK) == 0; }

bool has_call(long number, long first = -1) {
  // Nonsense arguments: anything but ENOSYS is a kernel that knows the call.
  return ::syscall(number, first, nullptr, nullptr, nullptr, nullptr) >= 0 || errno != ENOSYS;
}

bool has_overlay() { return real_sys().fs_open("overlay").has_value(); }

}  // namespace

std::string features_json() {
  JsonWriter json;
  json.begin_object();
  const auto feature = [&](const char* name, bool available, const char* detail) {
    json.begin_object(name);
    json.field("available", available);
    json.field("detail", detail);
    json.end_object();
  };
  feature("mountApi", has_call(SYS_fsopen) && has_call(SYS_move_mount), "fsopen(2), Linux 5.2: needed");
  feature("mountSetattr", has_call(442), "mount_setattr(2), Linux 5.12: needed for read-only paths and id-mapped layers");
  feature("openat2", has_call(SYS_openat2), "openat2(2), Linux 5.6: needed for paths that an image shaped");
  feature("clone3", has_call(SYS_clone3, 0), "clone3(2), Linux 5.7 with cgroups: needed");
  feature("overlay", has_overlay(), "the overlay file system: needed for images (modprobe overlay)");
  feature("userNamespace", exists("/proc/self/ns/user"), "user namespaces, for containers whose root is nobody on the host");
  feature("timeNamespace", exists("/proc/self/ns/time"), "time namespaces, Linux 5.6");
  feature("cgroupNamespace", exists("/proc/self/ns/cgroup"), "cgroup namespaces, Linux 4.6");
  feature("seccompFilter", ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, "") >= 0 || errno != ENOSYS, "seccomp filters: needed for profiles");
  const auto host = CgroupHost::probe();
  json.field("cgroupMode", host ? cgroup_mode_name(host->mode()) : "none");
  json.end_object();
  return json.take();
}

}  // namespace strata::runtime
