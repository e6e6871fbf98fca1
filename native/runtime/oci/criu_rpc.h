// What is said to `criu swrk` and back: protocol buffers (proto2) of criu's images/rpc.proto, as far as checkpoints and restores need them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/failure.h"

namespace strata::runtime::oci {

enum class CriuType : std::uint8_t { kDump = 1, kRestore = 2, kNotify = 6, kPreDump = 13 /* a single one */ };
enum class CriuCgroups : std::uint8_t { kIgnore = 0, kSoft = 3, kFull = 4, kStrict = 5, kDefault = 6 };

using TextPairs = std::vector<std::pair<std::string, std::string>>;

// criu_opts. What is false, empty, 0 or absent is left out; log files get level 4.
struct CriuOptions {
  int images_fd = -1, work_fd = -1;  // of the process that made the socket pair; work_fd -1: as images_fd
  pid_t pid = 0;                     // dump: init
  std::string log_file, root, parent_image, freeze_cgroup, config_file;
  std::string lsm_profile, lsm_mount_context;
  bool leave_running = false, ext_unix_sockets = false, tcp_established = false, tcp_skip_in_flight = false, shell_job = false, file_locks = false;
  bool track_memory = false, auto_dedup = false, link_remap = false, orphan_terminals = false, external_masters = false;
  bool evasive_devices = false, restores_sibling = false;
  CriuCgroups cgroups = CriuCgroups::kDefault;
  std::uint64_t empty_namespaces = 0;                // CLONE_NEW*
  std::vector<std::string> external;                 // "mnt[/where]:key", "net[inode]:key"
  TextPairs joined;                                  // a namespace's kind and its file
  TextPairs cgroup_roots;                            // controller and path
  std::vector<std::pair<std::string, int>> inherited;  // key, and the number in criu's process
};

// criu_req.
std::string encode_request(CriuType type, const CriuOptions& options);
std::string encode_notified(bool well);

// criu_resp.
struct CriuAnswer {
  std::uint64_t type = 0;
  bool success = false;
  std::string notification;  // of kNotify: which
  pid_t pid = 0;             // of init as this process sees it, in notifications and at the end of a restore
  int reason = 0;            // errno
  std::string message;
};
// Fields that are not known are skipped; what is no message is an error.
Outcome<CriuAnswer> decode_answer(std::string_view bytes);

}  // namespace strata::runtime::oci
