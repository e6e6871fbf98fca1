// A container on disk: --root/ID with
//   state.json   who it is and which process is its init; replaced atomically
//   config.json  the config it was created with: later commands do not depend on what becomes of the bundle
//   start.sock   init listens here while it waits for `start`
// A container is what its process is: nothing on disk says "running", so nothing can say so wrongly after a crash.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/cgroup.h"
#include "core/unique_fd.h"
#include "runtime/json.h"
#include "runtime/oci_config.h"

namespace strata::runtime::oci {

enum class Phase { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* phase_name(Phase phase);

// Identity of a process: a pid alone may be another's by now.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  static ProcessIdentity of(pid_t pid);
  // Not gone, not a zombie, and of this boot.
  [[nodiscard]] bool is_alive(const std::string& its_boot_id) const;
};

struct Record {
  std::string id, bundle, rootfs, created, boot_id, cgroup_path;
  std::string systemd_unit;        // the scope that systemd made; empty: none did
  std::string annotations = "{}";  // a JSON object
  std::array<std::string, 3> streams;  // the names of init's pipes outside ("pipe:[12]"), for a checkpoint; empty: something else
  ProcessIdentity creator, init;
};

class Container {
 public:
  // Makes the directory; an id that is taken is refused.
  static Outcome<Container> make(const std::string& root, const std::string& id);
  // kNoSuchSession's kin: INVALID_STATE with the words "container does not exist".
  static Outcome<Container> open(const std::string& root, const std::string& id);
  static Outcome<std::vector<std::string>> list(const std::string& root);
  static Done check_id(const std::string& id);

  [[nodiscard]] Done save() const;
  [[nodiscard]] Done save_config(std::string_view text) const;
  [[nodiscard]] Outcome<std::string> config_text() const;
  [[nodiscard]] Phase phase() const;
  // The spec's state object, with what the known command line adds where `extended`.
  [[nodiscard]] std::string state_json(Phase phase, pid_t pid, bool extended) const;
  [[nodiscard]] Done remove() const;
  // An empty one in the state directory, for a while; its absolute path.
  [[nodiscard]] Outcome<std::string> make_directory(const std::string& name) const;
  void remove_directory(const std::string& name) const;
  // One of them; not valid where there is none.
  [[nodiscard]] UniqueFd open_directory(const std::string& name) const;
  // "root", or "#1000" of another user.
  [[nodiscard]] std::string owner() const;

  // A listening socket that init keeps; `unlink_start_socket` once nobody needs to start it any more.
  [[nodiscard]] Outcome<UniqueFd> listen_for_start() const;
  // Not valid where nobody listens (any more).
  [[nodiscard]] UniqueFd connect_to_start() const;
  void unlink_start_socket() const;

  // ENOENT as an error where it has none (any more).
  [[nodiscard]] Outcome<Cgroup> open_cgroup() const;
  // A pidfd of init; refused where it is not alive.
  [[nodiscard]] Outcome<UniqueFd> open_init() const;

  Record record;

 private:
  Container(UniqueFd directory, std::string path) : directory_(std::move(directory)), path_(std::move(path)) {}
  Done load();
  UniqueFd directory_;
  std::string path_;
};

}  // namespace strata::runtime::oci
