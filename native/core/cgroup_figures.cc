#include "cgroup_figures.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "pseudo_file.h"

namespace strata {

namespace {

template <typename Take>
void each_key(std::string_view text, Take take) {
  std::string_view line;
  while (next_line(text, line)) {
    const std::string_view key = next_word(line);
    if (const auto value = parse_u64(next_word(line))) {
      take(key, *value);
    }
  }
}

uint64_t subtract(uint64_t from, uint64_t amount) { return from > amount ? from - amount : 0; }

}  // namespace

void parse_cpu_stat_v1(std::string_view text, CgroupFigures& figures) {
  each_key(text, [&](std::string_view key, uint64_t value) {
    if (key == "nr_periods") {
      figures.total_periods = value;
    } else if (key == "nr_throttled") {
      figures.throttled_periods = value;
    } else if (key == "throttled_time") {
      figures.throttled_us = value / 1000;
    }
  });
}

void parse_cpu_stat_v2(std::string_view text, CgroupFigures& figures) {
  each_key(text, [&](std::string_view key, uint64_t value) {
    if (key == "usage_usec") {
      figures.cpu_usage_us = value;
    } else if (key == "user_usec") {
      figures.cpu_user_us = value;
    } else if (key == "system_usec") {
      figures.cpu_system_us = value;
    } else if (key == "nr_periods") {
      figures.total_periods = value;
    } else if (key == "nr_throttled") {
      figures.throttled_periods = value;
    } else if (key == "throttled_usec") {
      figures.throttled_us = value;
    }
  });
}

void parse_memory_stat_v1(std::string_view text, CgroupFigures& figures) {
  // The total_ ones count the descendants as well, as v2 always does.
  each_key(text, [&](std::string_view key, uint64_t value) {
    if (key == "total_rss") {
      figures.memory_anon_bytes = value;
    } else if (key == "total_cache") {
      figures.memory_file_bytes = value;
    } else if (key == "total_swap") {
      figures.swap_bytes = value;
    } else if (key == "total_inactive_file") {
      figures.memory_bytes = subtract(figures.memory_usage_bytes, value);
    }
  });
}

void parse_memory_stat_v2(std::string_view text, CgroupFigures& figures) {
  each_key(text, [&](std::string_view key, uint64_t value) {
    if (key == "anon") {
      figures.memory_anon_bytes = value;
    } else if (key == "file") {
      figures.memory_file_bytes = value;
    } else if (key == "inactive_file") {
      figures.memory_bytes = subtract(figures.memory_usage_bytes, value);
    }
  });
}

void parse_io_v1(std::string_view text, CgroupFigures& figures) {
  // "254:0 Read 4096" for each device, then "Total 8192".
  std::string_view line;
  while (next_line(text, line)) {
    next_word(line);
    const std::string_view what = next_word(line);
    const uint64_t bytes = parse_u64(next_word(line)).value_or(0);
    if (what == "Read") {
      figures.io_read_bytes += bytes;
    } else if (what == "Write") {
      figures.io_write_bytes += bytes;
    }
  }
}

void parse_io_v2(std::string_view text, CgroupFigures& figures) {
  // "254:0 rbytes=4096 wbytes=0 rios=1 …"
  std::string_view line;
  while (next_line(text, line)) {
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      if (word.starts_with("rbytes=")) {
        figures.io_read_bytes += parse_u64(word.substr(7)).value_or(0);
      } else if (word.starts_with("wbytes=")) {
        figures.io_write_bytes += parse_u64(word.substr(7)).value_or(0);
      }
    }
  }
}

Result<CgroupSampler::Sources> CgroupSampler::open_sources(const std::string& path) const {
  struct Wanted {
    File file;
    const char* controller;
    const char* v1_name;  // nullptr: v2 only
    const char* v2_name;  // nullptr: v1 only
  };
  // memory.usage before memory.stat: the working set is computed from both.
  static constexpr std::array kWanted{
      Wanted{File::kCpuStat, "cpu", "cpu.stat", "cpu.stat"},
      Wanted{File::kCpuUsage, "cpuacct", "cpuacct.usage", nullptr},
      Wanted{File::kCpuUser, "cpuacct", "cpuacct.usage_user", nullptr},
      Wanted{File::kCpuSystem, "cpuacct", "cpuacct.usage_sys", nullptr},
      Wanted{File::kMemoryCurrent, "memory", "memory.usage_in_bytes", "memory.current"},
      Wanted{File::kMemoryStat, "memory", "memory.stat", "memory.stat"},
      Wanted{File::kMemoryMax, "memory", "memory.limit_in_bytes", "memory.max"},
      Wanted{File::kMemoryPeak, "memory", "memory.max_usage_in_bytes", "memory.peak"},
      Wanted{File::kMemorySwap, "memory", nullptr, "memory.swap.current"},
      Wanted{File::kMemoryEvents, "memory", "memory.oom_control", "memory.events"},
      Wanted{File::kPidsCurrent, "pids", "pids.current", "pids.current"},
      Wanted{File::kPidsMax, "pids", "pids.max", "pids.max"},
      Wanted{File::kIo, "io", nullptr, "io.stat"},
      Wanted{File::kIo, "blkio", "blkio.throttle.io_service_bytes_recursive", nullptr},
  };
  Sources sources;
  for (const Wanted& wanted : kWanted) {
    const int index = host_.find(wanted.controller);
    if (index < 0) {
      continue;
    }
    const CgroupHierarchy& hierarchy = host_.hierarchies()[static_cast<size_t>(index)];
    const char* name = hierarchy.unified ? wanted.v2_name : wanted.v1_name;
    if (name == nullptr) {
      continue;
    }
    UniqueFd fd(::open((hierarchy.mount_point + path + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && (errno == EMFILE || errno == ENFILE)) {
      return fail_errno(std::string("open '") + name + "'", "too many open files; raise the limit of open files of the helper");
    }
    if (fd) {
      sources.push_back({wanted.file, hierarchy.unified, std::move(fd)});
    }
  }
  return sources;
}

bool CgroupSampler::read_sources(const Sources& sources, CgroupFigures& figures) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  figures.at_ns = static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
  std::array<char, 16384> buffer;
  for (const Source& source : sources) {
    const ssize_t got = ::pread(source.fd.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      if (errno == ENODEV) {
        return false;
      }
      continue;
    }
    const std::string_view text(buffer.data(), static_cast<size_t>(got));
    const auto number = [&] { return parse_u64(text).value_or(0); };
    switch (source.file) {
      case File::kCpuStat:
        source.v2 ? parse_cpu_stat_v2(text, figures) : parse_cpu_stat_v1(text, figures);
        break;
      case File::kCpuUsage:
        figures.cpu_usage_us = number() / 1000;
        break;
      case File::kCpuUser:
        figures.cpu_user_us = number() / 1000;
        break;
      case File::kCpuSystem:
        figures.cpu_system_us = number() / 1000;
        break;
      case File::kMemoryCurrent:
        figures.memory_usage_bytes = figures.memory_bytes = number();
        break;
      case File::kMemoryStat:
        source.v2 ? parse_memory_stat_v2(text, figures) : parse_memory_stat_v1(text, figures);
        break;
      case File::kMemoryMax:
        figures.memory_max_bytes = parse_u64(text);
        if (!source.v2 && figures.memory_max_bytes && *figures.memory_max_bytes >= uint64_t{1} << 62) {
          figures.memory_max_bytes.reset();
        }
        break;
      case File::kMemoryPeak:
        figures.memory_peak_bytes = parse_u64(text);
        break;
      case File::kMemorySwap:
        figures.swap_bytes = parse_u64(text);
        break;
      case File::kMemoryEvents:
        figures.oom_kills = keyed_value(text, "oom_kill").value_or(0);
        break;
      case File::kPidsCurrent:
        figures.pids = number();
        break;
      case File::kPidsMax:
        figures.pids_max = parse_u64(text);
        break;
      case File::kIo:
        source.v2 ? parse_io_v2(text, figures) : parse_io_v1(text, figures);
        break;
    }
  }
  return true;
}

Result<std::vector<std::optional<CgroupFigures>>> CgroupSampler::sample(const std::vector<std::string>& paths) {
  std::vector<std::optional<CgroupFigures>> batch(paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    // Twice: kept descriptors may be those of an older cgroup of the same name.
    for (int attempt = 0; attempt < 2 && !batch[i]; ++attempt) {
      auto kept = kept_.find(paths[i]);
      if (kept == kept_.end()) {
        Sources sources = TRY(open_sources(paths[i]));
        if (sources.empty()) {
          break;
        }
        kept = kept_.emplace(paths[i], std::move(sources)).first;
      }
      CgroupFigures figures;
      if (read_sources(kept->second, figures)) {
        batch[i] = figures;
      } else {
        kept_.erase(kept);
      }
    }
  }
  return batch;
}

void CgroupSampler::retain(const std::vector<std::string>& paths) {
  std::erase_if(kept_, [&](const auto& entry) { return std::find(paths.begin(), paths.end(), entry.first) == paths.end(); });
}

}  // namespace strata
