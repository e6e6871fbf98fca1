// What a cgroup uses, read again and again: descriptors are kept and read with pread(2) at 0, text is parsed in place.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup_host.h"
#include "error.h"
#include "unique_fd.h"

namespace strata {

struct CgroupFigures {
  uint64_t at_ns = 0;  // CLOCK_MONOTONIC
  uint64_t cpu_usage_us = 0, cpu_user_us = 0, cpu_system_us = 0;
  uint64_t throttled_periods = 0, total_periods = 0, throttled_us = 0;
  uint64_t memory_bytes = 0;  // without inactive page cache (Docker's reading)
  uint64_t memory_usage_bytes = 0, memory_anon_bytes = 0, memory_file_bytes = 0;
  std::optional<uint64_t> memory_peak_bytes, memory_max_bytes, swap_bytes;
  uint64_t oom_kills = 0;
  uint64_t pids = 0;
  std::optional<uint64_t> pids_max;
  uint64_t io_read_bytes = 0, io_write_bytes = 0;
};

// Parsers of the files' texts, apart for tests.
void parse_cpu_stat_v1(std::string_view text, CgroupFigures& figures);
void parse_cpu_stat_v2(std::string_view text, CgroupFigures& figures);
void parse_memory_stat_v1(std::string_view text, CgroupFigures& figures);
void parse_memory_stat_v2(std::string_view text, CgroupFigures& figures);
void parse_io_v1(std::string_view text, CgroupFigures& figures);
void parse_io_v2(std::string_view text, CgroupFigures& figures);

// Not thread-safe: one batch at a time.
class CgroupSampler {
 public:
  explicit CgroupSampler(CgroupHost host) : host_(std::move(host)) {}

  // An entry is nullopt where that cgroup is gone. An error only where the process is out of descriptors.
  [[nodiscard]] Result<std::vector<std::optional<CgroupFigures>>> sample(const std::vector<std::string>& paths);
  // Closes the descriptors of cgroups that are not named.
  void retain(const std::vector<std::string>& paths);

 private:
  enum class File : uint8_t {
    kCpuStat, kCpuUsage, kCpuUser, kCpuSystem, kMemoryCurrent, kMemoryStat, kMemoryMax, kMemoryPeak, kMemorySwap, kMemoryEvents,
    kPidsCurrent, kPidsMax, kIo,
  };
  struct Source {
    File file;
    bool v2;
    UniqueFd fd;
  };
  using Sources = std::vector<Source>;

  [[nodiscard]] Result<Sources> open_sources(const std::string& path) const;
  // false: the cgroup is gone (ENODEV).
  [[nodiscard]] static bool read_sources(const Sources& sources, CgroupFigures& figures);

  CgroupHost host_;
  std::map<std::string, Sources> kept_;
};

}  // namespace strata
