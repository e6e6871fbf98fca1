#include "runtime/oci/inspect.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "core/cgroup_figures.h"
#include "core/pseudo_file.h"
#include "core/run_program.h"
#include "runtime/clock.h"
#include "runtime/oci/processes.h"

namespace strata::runtime::oci {
namespace {

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

// The number under "PID" of a ps line, for its header says in which column it stands.
pid_t pid_in_column(std::string_view line, std::size_t column) {
  std::string_view word;
  for (std::size_t i = 0; i <= column; ++i) {
    word = next_word(line);
  }
  return static_cast<pid_t>(parse_i64(word).value_or(-1));
}

std::string filter_ps(const std::string& output, const std::vector<pid_t>& pids) {
  std::string_view rest = output;
  std::string_view line;
  std::string kept;
  std::size_t column = ~std::size_t{0};
  while (next_line(rest, line)) {
    if (column == ~std::size_t{0}) {
      std::string_view header = line;
      std::size_t at = 0;
      for (std::string_view word = next_word(header); !word.empty() && word != "PID"; word = next_word(header)) {
        ++at;
      }
      column = at;
      kept += std::string(line) + "\n";
    } else if (std::binary_search(pids.begin(), pids.end(), pid_in_column(line, column))) {
      kept += std::string(line) + "\n";
    }
  }
  return kept;
}

std::uint64_t number_in(int directory, const std::string& file) {
  return directory < 0 ? 0 : parse_u64(read_pseudo_file(directory, file).value_or("")).value_or(0);
}

// v2 counts swap alone, the form is v1's: memory and swap together.
void write_swap_and_raw(JsonWriter& json, const Container& container) {
  const auto cgroup = container.open_cgroup();
  const int memory = cgroup ? cgroup->controller_fd("memory") : -1;
  const bool v2 = cgroup && cgroup->controller_is_v2("memory");
  const auto limit = memory < 0 ? std::nullopt : parse_u64(read_pseudo_file(memory, v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes").value_or(""));
  json.begin_object("swap");
  json.field("limit", !limit ? ~std::uint64_t{0} : *limit + (v2 ? number_in(memory, "memory.max") : 0));
  json.field("usage", v2 ? number_in(memory, "memory.current") + number_in(memory, "memory.swap.current") : number_in(memory, "memory.memsw.usage_in_bytes"));
  json.field("max", v2 ? 0 : number_in(memory, "memory.memsw.max_usage_in_bytes"));
  json.field("failcnt", v2 ? 0 : number_in(memory, "memory.memsw.failcnt"));
  json.end_object();
  json.begin_object("raw");
  const std::string text = memory < 0 ? std::string() : read_pseudo_file(memory, "memory.stat").value_or("");
  std::string_view rest = text;
  std::string_view line;
  while (next_line(rest, line)) {
    const std::string name(next_word(line));
    json.field(name.c_str(), parse_u64(next_word(line)).value_or(0));
  }
  json.end_object();
}

void write_huge_pages(JsonWriter& json, const Container& container) {
  const auto cgroup = container.open_cgroup();
  const int directory = cgroup ? cgroup->controller_fd("hugetlb") : -1;
  const bool v2 = cgroup && cgroup->controller_is_v2("hugetlb");
  json.begin_object("hugetlb");
  for (const char* size : {"64KB", "1MB", "2MB", "32MB", "512MB", "1GB", "16GB"}) {
    const std::string prefix = std::string("hugetlb.") + size;
    const std::string usage = prefix + (v2 ? ".current" : ".usage_in_bytes");
    if (directory >= 0 && pseudo_file_exists(directory, usage)) {
      json.begin_object(size);
      json.field("usage", number_in(directory, usage));
      json.field("max", v2 ? 0 : number_in(directory, prefix + ".max_usage_in_bytes"));
      json.field("failcnt", v2 ? keyed_value(read_pseudo_file(directory, prefix + ".events").value_or(""), "max").value_or(0) : number_in(directory, prefix + ".failcnt"));
      json.end_object();
    }
  }
  json.end_object();
}

}  // namespace

Outcome<std::string> state_text(const Container& container) {
  const Phase phase = container.phase();
  return container.state_json(phase, phase == Phase::kStopped ? 0 : container.record.init.pid, true);
}

Outcome<std::string> list_text(const Context& context, const std::string& format, bool quiet) {
  std::string json;
  std::string table = padded("ID", 12) + padded("PID", 12) + padded("STATUS", 12) + padded("BUNDLE", 20) + padded("CREATED", 32) + "OWNER\n";
  std::string ids;
  for (const std::string& id : TRY(Container::list(context.root))) {
    const auto container = Container::open(context.root, id);
    if (!container) {
      continue;  // deleted in between
    }
    const Phase phase = container->phase();
    const pid_t pid = phase == Phase::kStopped ? 0 : container->record.init.pid;
    ids += id + "\n";
    json += (json.empty() ? "" : ",") + container->state_json(phase, pid, true);
    table += padded(id, 12) + " " + padded(std::to_string(pid), 11) + " " + padded(phase_name(phase), 11) + " " + padded(container->record.bundle, 19) + " " +
             padded(container->record.created, 31) + " " + container->owner() + "\n";
  }
  return quiet ? ids : format == "json" ? (json.empty() ? "null" : "[" + json + "]") : table;
}

Outcome<std::string> ps_text(const Container& container, const std::string& format, const std::vector<std::string>& arguments) {
  const std::vector<pid_t> pids = TRY(processes_of(container));
  if (format == "json") {
    std::string text;
    for (const pid_t pid : pids) {
      text += (text.empty() ? "" : ",") + std::to_string(pid);
    }
    return "[" + text + "]\n";
  }
  ProgramOptions options;
  options.most_output = 16 << 20;
  const ProgramRun run = TRY(classify(run_program("/bin/ps", arguments.empty() ? std::vector<std::string>{"-ef"} : arguments, options), ErrorCode::kInternal, "list processes"));
  if (run.exit_code != 0) {
    return refuse(ErrorCode::kInvalidRequest, "ps failed: " + run.errors);
  }
  return filter_ps(run.output, pids);
}

Outcome<std::string> stats_text(const Container& container) {
  if (container.record.cgroup_path.empty()) {
    return refuse(ErrorCode::kCgroupFailed, "container '" + container.record.id + "' has no cgroup, which would have the figures", ENOENT);
  }
  const CgroupHost host = TRY(classify(CgroupHost::probe(), ErrorCode::kCgroupFailed));
  CgroupSampler sampler(host);
  const auto samples = TRY(classify(sampler.sample({container.record.cgroup_path}), ErrorCode::kCgroupFailed));
  if (samples.empty() || !samples.front()) {
    return refuse(ErrorCode::kInvalidState, "container not running: its cgroup is gone");
  }
  const CgroupFigures& figures = *samples.front();
  JsonWriter json;
  json.begin_object();
  json.field("type", "stats");
  json.field("id", container.record.id);
  json.begin_object("data");
  json.begin_object("cpu");
  json.begin_object("usage");
  json.field("total", figures.cpu_usage_us * 1000);
  json.field("kernel", figures.cpu_system_us * 1000);
  json.field("user", figures.cpu_user_us * 1000);
  json.end_object();
  json.begin_object("throttling");
  json.field("periods", figures.total_periods);
  json.field("throttledPeriods", figures.throttled_periods);
  json.field("throttledTime", figures.throttled_us * 1000);
  json.end_object();
  json.end_object();
  json.begin_object("memory");
  json.field("cache", figures.memory_file_bytes);
  json.begin_object("usage");
  json.field("limit", figures.memory_max_bytes.value_or(~std::uint64_t{0}));
  json.field("usage", figures.memory_usage_bytes);
  json.field("max", figures.memory_peak_bytes.value_or(0));
  json.field("failcnt", figures.oom_kills);
  json.end_object();
  write_swap_and_raw(json, container);
  json.end_object();
  json.begin_object("pids");
  json.field("current", figures.pids);
  json.field("limit", figures.pids_max.value_or(0));
  json.end_object();
  json.begin_object("blkio");
  json.raw_field("ioServiceBytesRecursive", "[{\"op\":\"Read\",\"value\":" + std::to_string(figures.io_read_bytes) + "},{\"op\":\"Write\",\"value\":" +
                                                std::to_string(figures.io_write_bytes) + "}]");
  json.end_object();
  write_huge_pages(json, container);
  json.end_object();
  json.end_object();
  return json.take() + "\n";
}

namespace {

// What poll(2) wakes for when memory runs out in a cgroup: the kernel's own word, so that none is missed between two looks.
class OomWatch {
 public:
  explicit OomWatch(const Cgroup& cgroup) : memory_(cgroup.controller_fd("memory")), v2_(cgroup.controller_is_v2("memory")) {
    if (memory_ < 0) {
      return;
    }
    file_.reset(::openat(memory_, v2_ ? "memory.events" : "memory.oom_control", O_RDONLY | O_CLOEXEC));
    kills_ = count();
    if (v2_ || !file_) {
      return;
    }
    // Documentation/admin-guide/cgroup-v1/memory.rst, 10: OOM control.
    event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!write_pseudo_file(memory_, "cgroup.event_control", std::to_string(event_.get()) + " " + std::to_string(file_.get()))) {
      event_.reset();
    }
  }
  // poll(2) leaves -1 alone.
  [[nodiscard]] pollfd waits() const { return v2_ ? pollfd{file_.get(), POLLPRI, 0} : pollfd{event_.get(), POLLIN, 0}; }
  // Also true where a kill shows that a wake-up was missed (no event_control).
  bool happened(bool woken) {
    std::uint64_t times = 0;
    const bool said = event_ && ::read(event_.get(), &times, sizeof times) == sizeof times;
    const std::uint64_t now = count();
    const bool more = now > kills_;
    kills_ = std::max(kills_, now);
    // v1 wakes for the removal of the cgroup too.
    return more || (woken && said && pseudo_file_exists(memory_, "memory.oom_control"));
  }

 private:
  [[nodiscard]] std::uint64_t count() const {
    std::array<char, 1024> text;
    const ssize_t got = file_ ? ::pread(file_.get(), text.data(), text.size(), 0) : -1;
    return got < 0 ? kills_ : keyed_value({text.data(), static_cast<std::size_t>(got)}, "oom_kill").value_or(0);
  }

  int memory_;
  bool v2_;
  UniqueFd file_, event_;
  std::uint64_t kills_ = 0;
};

}  // namespace

Done print_events(const Container& container, int interval_ms, bool once) {
  const auto print = [](const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  if (once) {
    print(TRY(stats_text(container)));
    return {};
  }
  const UniqueFd init = TRY(container.open_init());
  const Cgroup cgroup = TRY(container.open_cgroup());
  OomWatch oom(cgroup);
  const auto now = [] { return static_cast<std::int64_t>(monotonic_nanoseconds() / 1'000'000); };
  for (std::int64_t next = now() + interval_ms;;) {
    std::array<pollfd, 2> wait{pollfd{init.get(), POLLIN, 0}, oom.waits()};
    const auto left = static_cast<int>(std::max<std::int64_t>(0, std::min<std::int64_t>(next - now(), interval_ms)));
    if (::poll(wait.data(), wait.size(), left) < 0 && errno != EINTR) {
      return refuse_errno(ErrorCode::kInternal, "wait for events");
    }
    if (oom.happened(wait[1].revents != 0)) {
      print("{\"type\":\"oom\",\"id\":\"" + container.record.id + "\"}\n");
    }
    if (wait[0].revents != 0) {
      return {};
    }
    if (now() >= next) {
      next = now() + interval_ms;
      print(TRY(stats_text(container)));
    }
  }
}

}  // namespace strata::runtime::oci
