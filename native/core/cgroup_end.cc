// Who is in a cgroup, and how all of it is ended and removed.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "cgroup.h"
#include "pseudo_file.h"

namespace strata {

namespace {

constexpr int kDirectoryFlags = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

std::vector<std::string> child_directories(int directory) {
  std::vector<std::string> names;
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, DirectoryCloser> stream(fd < 0 ? nullptr : ::fdopendir(fd));
  if (stream == nullptr) {
    return names;
  }
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type == DT_DIR && std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..") {
      names.emplace_back(entry->d_name);
    }
  }
  return names;
}

void collect_processes(int directory, std::vector<pid_t>& pids) {
  if (const auto text = read_pseudo_file(directory, "cgroup.procs")) {
    std::string_view rest = *text;
    std::string_view line;
    while (next_line(rest, line)) {
      // 0: a process of another pid namespace; it cannot be named from here.
      if (const auto pid = parse_i64(line); pid && *pid > 0) {
        pids.push_back(static_cast<pid_t>(*pid));
      }
    }
  }
  for (const std::string& name : child_directories(directory)) {
    const UniqueFd child(::openat(directory, name.c_str(), kDirectoryFlags));
    if (child) {
      collect_processes(child.get(), pids);
    }
  }
}

std::vector<pid_t> processes_below(int directory) {
  std::vector<pid_t> pids;
  collect_processes(directory, pids);
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

// A pid may be reused between reading it and signalling it: the pidfd is taken first, and only who is still listed then is signalled through it.
void kill_listed(int directory) {
  std::vector<std::pair<pid_t, UniqueFd>> handles;
  for (const pid_t pid : processes_below(directory)) {
    handles.emplace_back(pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  }
  const std::vector<pid_t> still = processes_below(directory);
  for (const auto& [pid, handle] : handles) {
    if (handle.valid() && std::binary_search(still.begin(), still.end(), pid)) {
      ::syscall(SYS_pidfd_send_signal, handle.get(), SIGKILL, nullptr, 0);
    }
  }
}

// A cgroup below may be frozen by itself.
void thaw_tree(int directory) {
  (void)write_pseudo_file(directory, "freezer.state", "THAWED");
  for (const std::string& name : child_directories(directory)) {
    const UniqueFd child(::openat(directory, name.c_str(), kDirectoryFlags));
    if (child) {
      thaw_tree(child.get());
    }
  }
}

// Deepest first. EBUSY travels up, ENOENT is success.
int remove_directories(int parent, const std::string& name) {
  {
    const UniqueFd directory(::openat(parent, name.c_str(), kDirectoryFlags));
    if (!directory) {
      return errno == ENOENT ? 0 : errno;
    }
    for (const std::string& child : child_directories(directory.get())) {
      if (const int error = remove_directories(directory.get(), child); error != 0) {
        return error;
      }
    }
  }
  return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

// cgroup.events says "populated 0" when the last one left; the kernel wakes poll(2) when it changes.
void wait_until_empty(int directory, int64_t deadline_ms) {
  const UniqueFd events(::openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) {
    return;
  }
  for (;;) {
    char text[256];
    const ssize_t got = ::pread(events.get(), text, sizeof text, 0);
    if (got <= 0 || keyed_value(std::string_view(text, static_cast<size_t>(got)), "populated").value_or(0) == 0) {
      return;
    }
    const int64_t left = deadline_ms - monotonic_ms();
    if (left <= 0) {
      return;
    }
    pollfd wait{events.get(), POLLPRI, 0};
    ::poll(&wait, 1, static_cast<int>(std::min<int64_t>(left, 1000)));
  }
}

void sleep_ms(int64_t milliseconds) {
  const timespec pause{milliseconds / 1000, (milliseconds % 1000) * 1000000};
  ::nanosleep(&pause, nullptr);
}

}  // namespace

Result<std::vector<pid_t>> Cgroup::processes() const {
  std::vector<pid_t> pids;
  for (const UniqueFd& directory : directories_) {
    if (directory) {
      collect_processes(directory.get(), pids);
    }
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

Status Cgroup::signal_all() {
  for (const UniqueFd& directory : directories_) {
    if (directory) {
      kill_listed(directory.get());
    }
  }
  return {};
}

Status Cgroup::kill() {
  // v1: what is frozen dies only when it is thawed; in the unified tree SIGKILL goes through.
  const int freezer = controller_is_v2("freezer") ? -1 : controller_fd("freezer");
  const auto thaw = [&] {
    if (freezer >= 0) {
      thaw_tree(freezer);
    }
  };
  if (unified_fd() >= 0 && write_pseudo_file(unified_fd(), "cgroup.kill", "1")) {
    // On a hybrid host somebody may be in a v1 hierarchy alone.
    const Status signalled = host_.mode() == CgroupMode::kV2 ? Status{} : signal_all();
    thaw();
    return signalled;
  }
  // Frozen ones cannot fork away from the list; the signal takes effect with the thaw.
  const int unified = unified_fd();
  if (unified >= 0) {
    (void)write_pseudo_file(unified, "cgroup.freeze", "1");
  }
  if (freezer >= 0) {
    (void)write_pseudo_file(freezer, "freezer.state", "FROZEN");
  }
  const Status signalled = signal_all();
  thaw();
  if (unified >= 0) {
    (void)write_pseudo_file(unified, "cgroup.freeze", "0");
  }
  return signalled;
}

bool Cgroup::remove_empty() const {
  const auto& hierarchies = host_.hierarchies();
  // The unified tree first: while it has the cgroup everybody in it can be killed at once.
  return std::all_of(hierarchies.rbegin(), hierarchies.rend(),
                     [this](const CgroupHierarchy& hierarchy) { return ::rmdir((hierarchy.mount_point + path_).c_str()) == 0 || errno == ENOENT; });
}

Status Cgroup::destroy(int timeout_ms) {
  if (path_.empty()) {
    return {};
  }
  // Nearly always nobody is left and nothing below: then the looking for them costs more than the removal.
  if (remove_empty()) {
    return {};
  }
  const int64_t deadline = monotonic_ms() + timeout_ms;
  const std::string parent_path = path_.substr(0, path_.rfind('/'));
  const std::string name = path_.substr(path_.rfind('/') + 1);
  for (int64_t pause_ms = 1;; pause_ms = std::min<int64_t>(pause_ms * 2, 50)) {
    if (!TRY(processes()).empty()) {
      TRY(kill());
      if (unified_fd() >= 0) {
        wait_until_empty(unified_fd(), std::min(deadline, monotonic_ms() + 1000));
      }
    }
    Error error;
    for (const CgroupHierarchy& hierarchy : host_.hierarchies()) {
      const UniqueFd parent(::open((hierarchy.mount_point + parent_path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      const int failed = parent ? remove_directories(parent.get(), name) : (errno == ENOENT ? 0 : errno);
      if (failed != 0) {
        error = Error{failed, "rmdir '" + hierarchy.mount_point + path_ + "'", {}};
      }
    }
    if (error.errno_value == 0) {
      return {};
    }
    if (error.errno_value != EBUSY) {
      return std::unexpected(std::move(error));
    }
    if (monotonic_ms() >= deadline) {
      std::string who;
      for (const pid_t pid : TRY(processes())) {
        who += " " + std::to_string(pid);
      }
      error.errno_value = ETIMEDOUT;
      error.hint = who.empty() ? "the kernel still holds the cgroup" : "these processes do not die (uninterruptible sleep):" + who;
      return std::unexpected(std::move(error));
    }
    sleep_ms(std::min<int64_t>(pause_ms, std::max<int64_t>(1, deadline - monotonic_ms())));
  }
}

Result<std::vector<std::string>> cgroup_children(const CgroupHost& host, const std::string& path) {
  TRY(check_cgroup_path(path));
  std::vector<std::string> names;
  for (const CgroupHierarchy& hierarchy : host.hierarchies()) {
    const UniqueFd directory(::open((hierarchy.mount_point + path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (directory) {
      const std::vector<std::string> found = child_directories(directory.get());
      names.insert(names.end(), found.begin(), found.end());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace strata
