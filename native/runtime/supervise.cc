#include "runtime/supervise.h"
#include "runtime/trace.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace strata::runtime {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
  }
  return true;
}

// Of its own session, with nothing that it inherited: a caller that reads the foreground's stderr to its end must not wait for the supervisor.
void become_daemon(int report) {
  ::setsid();
  best_effort(::chdir("/"));
  ::umask(0);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) {
    ::dup2(null, fd);
  }
  keep_only({report});
  for (const int signal : {SIGPIPE, SIGHUP, SIGINT, SIGTERM}) {
    ::signal(signal, SIG_IGN);
  }
  ::prctl(PR_SET_NAME, "strata-super", 0, 0, 0);
  // Inherited by the child of an exec, which is in the container's pid namespace from its first instruction: nobody there may look
  // into it before it is the container's own program (CVE-2016-9962).
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // One arena's top stays small; what a request needed goes back to the kernel.
  ::mallopt(M_TRIM_THRESHOLD, 64 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 64 * 1024);
}

int run_supervisor(const SupervisorParams& params, UniqueFd report) {
  const auto prepare = [&]() -> Outcome<std::unique_ptr<Supervisor>> {
    const CgroupHost host = TRY(classify(CgroupHost::probe(), ErrorCode::kCgroupFailed));
    Cgroup cgroup = TRY(classify(Cgroup::create(host, params.cgroup_path), ErrorCode::kCgroupFailed, "make the cgroup '" + params.cgroup_path + "'"));
    trace::mark("make the cgroups");
    auto supervisor = std::make_unique<Supervisor>(params, std::move(cgroup));
    TRY(supervisor->prepare());
    return supervisor;
  };
  auto supervisor = prepare();
  if (!supervisor) {
    static_cast<void>(write_all(report.get(), to_json(supervisor.error())));
    return 1;
  }
  // EPIPE: the foreground was killed because it took too long, and whoever did that knows of no sandbox.
  if (!write_all(report.get(), "ok")) {
    (*supervisor)->abandon();
  }
  report.reset();
  (*supervisor)->run();
  return 0;
}

}  // namespace

int supervise(const SupervisorParams& params) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) {
    write_all(2, to_json(Failure(Error{errno, "make a pipe", ""})) + "\n");
    return 1;
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    static_cast<void>(write_all(2, to_json(Failure(Error{errno, "fork the supervisor", ""})) + "\n"));
    return 1;
  }
  if (child == 0) {
    reader.reset();
    become_daemon(writer.get());
    trace::mark("become a daemon");
    return run_supervisor(params, std::move(writer));
  }
  writer.reset();
  std::string said;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t count = ::read(reader.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      break;
    }
    said.append(buffer.data(), static_cast<std::size_t>(count));
  }
  if (said == "ok") {
    return 0;
  }
  reap(child);
  static_cast<void>(write_all(2, (said.empty() ? to_json(Failure(Error{0, "the supervisor ended while it started", ""})) : said) + "\n"));
  return 1;
}

}  // namespace strata::runtime
