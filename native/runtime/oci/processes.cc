#include "runtime/oci/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>

#include "core/pseudo_file.h"

namespace strata::runtime::oci {
namespace {

constexpr std::uint64_t kExiting = 0x4;  // PF_EXITING of <linux/sched.h>, in field 9 of /proc/PID/stat

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::string in_proc(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

// Fields of /proc/PID/stat from the third on: the name in the second may hold anything.
std::vector<std::string> status_fields(pid_t pid) {
  const std::string text = read_pseudo_file(AT_FDCWD, in_proc(pid, "stat")).value_or("");
  std::vector<std::string> fields;
  if (const std::size_t end = text.rfind(')'); end != std::string::npos) {
    std::string_view rest = std::string_view(text).substr(end + 1);
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      fields.emplace_back(word);
    }
  }
  return fields;
}

ino_t pid_namespace_of(pid_t pid) {
  struct stat status {};
  return ::stat(in_proc(pid, "ns/pid").c_str(), &status) == 0 ? status.st_ino : 0;
}

std::vector<pid_t> everybody() {
  std::vector<pid_t> pids;
  const std::unique_ptr<DIR, DirectoryCloser> directory(::opendir("/proc"));
  while (const dirent* entry = directory == nullptr ? nullptr : ::readdir(directory.get())) {
    if (const auto pid = parse_i64(entry->d_name); pid && *pid > 0) {
      pids.push_back(static_cast<pid_t>(*pid));
    }
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::vector<pid_t> descendants_of(pid_t init, const std::vector<pid_t>& pids) {
  std::map<pid_t, pid_t> parents;
  for (const pid_t pid : pids) {
    const std::vector<std::string> fields = status_fields(pid);
    parents[pid] = fields.size() > 1 ? static_cast<pid_t>(parse_i64(fields[1]).value_or(0)) : 0;
  }
  std::vector<pid_t> found;
  for (const pid_t pid : pids) {
    pid_t up = pid;
    while (up > 0 && up != init) {
      const auto parent = parents.find(up);
      up = parent == parents.end() ? 0 : parent->second;
    }
    if (up == init) {
      found.push_back(pid);
    }
  }
  return found;
}

std::vector<pid_t> around_init(const Container& container, bool with_descendants) {
  const pid_t init = container.record.init.pid;
  if (!container.record.init.is_alive(container.record.boot_id)) {
    return {};
  }
  std::vector<pid_t> pids = everybody();
  const ino_t own = pid_namespace_of(init);
  std::vector<pid_t> found;
  if (own == 0 || own == pid_namespace_of(::getpid()) || with_descendants) {
    found = descendants_of(init, pids);
  }
  if (own != 0 && own != pid_namespace_of(::getpid())) {
    std::copy_if(pids.begin(), pids.end(), std::back_inserter(found), [own](pid_t pid) { return pid_namespace_of(pid) == own; });
  }
  return found;
}

}  // namespace

Outcome<std::vector<pid_t>> processes_of(const Container& container) {
  if (container.record.cgroup_path.empty()) {
    return around_init(container, false);
  }
  const auto cgroup = container.open_cgroup();
  return cgroup ? classify(cgroup->processes(), ErrorCode::kCgroupFailed) : Outcome<std::vector<pid_t>>(std::vector<pid_t>());
}

std::vector<pid_t> all_processes_of(const Container& container) {
  std::vector<pid_t> pids = processes_of(container).value_or(std::vector<pid_t>());
  const std::vector<pid_t> more = around_init(container, true);
  pids.insert(pids.end(), more.begin(), more.end());
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

bool is_past_its_end(pid_t pid) {
  const std::vector<std::string> fields = status_fields(pid);
  if (fields.empty() || fields[0] == "Z" || fields[0] == "X") {
    return true;
  }
  struct stat status {};
  const bool exiting = fields.size() > 6 && (parse_u64(fields[6]).value_or(0) & kExiting) != 0;
  return exiting && ::stat(in_proc(pid, "ns/mnt").c_str(), &status) < 0 && errno == ENOENT;
}

}  // namespace strata::runtime::oci
