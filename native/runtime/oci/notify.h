// sd_notify(3) for a container, as runc has it: where the runtime is started with $NOTIFY_SOCKET, the container gets a socket of its own, and when somebody
// in it says READY=1 there, the service manager is told so, with the pid that stands for the container. Nothing else of what is said goes out.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/unique_fd.h"
#include "runtime/oci/container.h"
#include "runtime/oci/context.h"

namespace strata::runtime::oci {

// In the container's state directory; in the container it is /run/notify.
inline constexpr char kNotifyDirectory[] = "notify";

bool has_notify_socket();
// The mount of `directory`, and the variable that names the socket in it.
void add_notify_socket(OciConfig& config, const std::string& directory);

class NotifyRelay {
 public:
  NotifyRelay() = default;  // has nobody to tell
  // To be there before the container's program is. Has nobody to tell where $NOTIFY_SOCKET is not set or was not when the container was created; nor, with a
  // warning, where nobody listens there.
  static Outcome<NotifyRelay> listen(Context& context, const Container& container);

  [[nodiscard]] bool waits() const { return socket_.valid(); }
  // Readable when there is something to take; -1 where it waits for nothing (any more).
  [[nodiscard]] int fd() const { return socket_.get(); }
  void take(pid_t main_pid);
  // Until READY=1 was passed on, or the process of `pidfd` has ended.
  void wait(int pidfd, pid_t main_pid);

 private:
  NotifyRelay(UniqueFd socket, UniqueFd manager) : socket_(std::move(socket)), manager_(std::move(manager)) {}
  UniqueFd socket_, manager_;
};

}  // namespace strata::runtime::oci
