// One container's supervisor: parent of its init, keeper of its output, its exit and its control socket.
//
//   sandbox ──create──▶ created ──start──▶ running ──init ends──▶ exited (record on disk, event said, cgroups and socket removed, process ends)
//      │  └──────run─────────────────────────▲                       ▲
//      └── discard ▶ (ends without a record)     a failed create or start ends here too
//
// Invariants: single-threaded; never blocks on a client or on the container; `started` is said before `exited`; the exit record is on disk before
// `exited` is said; a create that is refused before init was told leaves the sandbox as it was.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/cgroup.h"
#include "runtime/control_server.h"
#include "runtime/exec_session.h"
#include "runtime/exit_record.h"
#include "runtime/log_writer.h"
#include "runtime/requests.h"
#include "runtime/sandbox.h"

namespace strata::runtime {

// Versions of the control protocol (docs/supervisor.md) that a supervisor speaks: this one, and the one before it for helpers that are older.
inline constexpr int kWire = 2, kOldestWire = 1;

struct SupervisorParams {
  std::string id, run_dir, cgroup_path;
  int wire = kWire;   // the greatest that it owns up to: with less it is to helpers what one of that version was
  std::string trace;  // a file, or empty
  SandboxParams sandbox;
};

class Supervisor {
 public:
  Supervisor(const SupervisorParams& params, Cgroup cgroup);

  // The sandbox stands, the socket listens, state.json is written. On an error nothing is left behind.
  Done prepare();
  // Ends the sandbox, of which nobody was told; to be called before run(), which then returns.
  void abandon() { static_cast<void>(discard()); }
  // Serves until the container ended and everything of it is removed.
  void run();

 private:
  enum class Phase { kSandbox, kCreating, kCreated, kStarting, kRunning, kExited };

  // A request that waits for init's answer.
  struct Pending {
    ConnectionId connection = 0;
    std::string id;  // as JSON
  };

  // ---- requests (supervisor_requests.cc; what belongs to exec in supervisor_execs.cc)
  void on_frame(ConnectionId connection, const Frame& frame);
  void on_request(ConnectionId connection, std::string_view payload);
  // The result object's JSON, or nothing where the answer comes later.
  Outcome<std::optional<std::string>> dispatch(ConnectionId connection, const std::string& id, const std::string& method, const Json& params, std::string_view payload);
  Outcome<std::string> hello(ConnectionId connection, const Json& params);
  Done create(const Json& params, std::string_view payload, bool is_run);
  Done start();
  Done kill_init(const Json& params);
  Done exec(ConnectionId connection, const std::string& request, const Json& params);
  Outcome<std::string> sessions(const Json& params) const;
  [[nodiscard]] std::string ended_sessions() const;
  Done signal_exec(const Json& params);
  Done resize(const Json& params);
  Done discard();
  Done check_namespaces(const OciConfig& config) const;
  void respond(ConnectionId connection, const std::string& id, const std::string& result);
  void respond(ConnectionId connection, const std::string& id, const Failure& failure);
  void say(const std::string& event);
  void on_connection_closed(ConnectionId connection);

  // ---- init's side (supervisor.cc)
  void on_channel();
  void on_created();
  void on_started();
  void on_init_failed(const Failure& failure);
  void on_init_ended();
  void finish();
  void clean_up();
  void open_main_streams();
  void pump_main(int fd, LogChannel channel);
  void close_main_stream(UniqueFd& stream);
  void drain_main();
  void grant_stdin(ConnectionId connection);
  void say_logged(bool force);
  [[nodiscard]] const char* phase_name() const;

  SupervisorParams params_;
  Cgroup cgroup_;
  EventLoop loop_;
  ControlServer server_;
  Sandbox sandbox_;
  UniqueFd run_dir_;
  int host_oom_score_adj_ = 0, container_oom_score_adj_ = 0;
  std::string boot_id_;
  std::uint64_t own_start_time_ = 0, init_start_time_ = 0;

  Phase phase_ = Phase::kSandbox;
  std::optional<Pending> pending_;
  bool discarding_ = false, done_ = false, executing_ = false;

  // Of the container, once it is created.
  LogWriter log_;
  std::string exit_path_;
  bool durable_ = false, terminal_ = false, open_stdin_ = false;
  UniqueFd root_mount_;  // kept until `exited` was said: the last unmount syncs the upper
  UniqueFd seccomp_, stdout_, stderr_, console_;
  std::vector<UniqueFd> reserve_;  // for the terminal and its copies, until init has sent it
  StdinQueue stdin_;
  UniqueFd stdin_end_;
  ExitRecord exit_;
  std::optional<ErrorCode> failure_code_;

  struct Subscriber {
    bool events = false, follow = false, stdin_granted = false;
    std::uint64_t said_size = 0;
  };
  std::map<ConnectionId, Subscriber> subscribers_;
  std::uint64_t logged_said_at_ = 0;

  std::map<std::uint32_t, std::unique_ptr<ExecSession>> execs_;
  std::map<std::uint32_t, Pending> exec_requests_;
  std::deque<std::string> ended_execs_;      // the last ones, as JSON, for a helper that was not there
  std::unique_ptr<ExecSession> ended_exec_;  // destroyed when nothing of it is on the stack any more
  std::uint32_t next_session_ = 1;
};

// `reason`: EMFILE where it is the process's limit of open files that was reached first.
inline std::unexpected<Failure> too_many_sessions(int reason = 0) {
  return refuse(ErrorCode::kTooManySessions, "too many sessions in this container at once", reason, "end some of them first");
}
inline std::unexpected<Failure> no_such_session(std::uint32_t session) {
  return refuse(ErrorCode::kNoSuchSession, "there is no session " + std::to_string(session));
}

}  // namespace strata::runtime
