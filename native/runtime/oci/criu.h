// criu as a program of its own that works for this process: `criu swrk`, one request a process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/cgroup.h"
#include "core/unique_fd.h"
#include "runtime/oci/criu_rpc.h"

namespace strata::runtime::oci {

// Where it is: `given` (--criu), else the first in PATH. kKernelFeatureMissing where there is none.
Outcome<std::string> find_criu(const std::string& given);

struct CriuChild {
  std::string program;
  Cgroup* cgroup = nullptr;    // what it enters first: what it restores is born there
  std::string images, work;    // directories; `work` empty: the images'
  std::vector<int> passed;     // descriptors of this process: its kFirstPassedFd, ...
  // A mount namespace of its own, in which `root` is mounted on `root_place`: what a restore takes, and nothing of it is seen on the host.
  std::string root, root_place;
  bool dies_with_parent = false;
};
inline constexpr int kFirstPassedFd = 6;

class Criu {
 public:
  // What the child could not do up to its execve is this call's error.
  static Outcome<Criu> start(const CriuChild& child);
  Criu(Criu&& other) noexcept;
  Criu& operator=(Criu&&) = delete;
  Criu(const Criu&) = delete;
  Criu& operator=(const Criu&) = delete;
  ~Criu();

  [[nodiscard]] pid_t pid() const { return pid_; }

  // What happens on the way, and a descriptor that came with it (not valid: none). An error ends the work.
  using Notified = std::function<Done(const CriuAnswer&, UniqueFd)>;
  // The directories' numbers in `options` are this one's business. Until the work is done and criu has ended. An errno in the failure is criu's; a failure of `notified` wins.
  Outcome<CriuAnswer> work(CriuType type, CriuOptions options, const Notified& notified);

 private:
  Criu(UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  Outcome<CriuAnswer> receive(UniqueFd& fd) const;
  Done send(const std::string& message) const;
  int wait();

  UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace strata::runtime::oci
