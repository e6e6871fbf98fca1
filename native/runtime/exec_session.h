// One exec: a process of the container that the supervisor forked. Its streams belong to the connection that asked for it; a detached one has none, and outlives
// every connection, as does what ignores its hang-up: until it is reaped it is there to be listed and signalled.
//
// Lifecycle: spawn → (the one in between has ended, and the channel) started or failed → (pidfd) reaped → streams drained → ended. Output is read only while the owner has
// granted credit and takes what is queued, so one slow reader stops one exec and nothing else.
#pragma once

#include <functional>
#include <optional>

#include "core/cgroup.h"
#include "runtime/control_server.h"
#include "runtime/requests.h"
#include "runtime/sandbox.h"
#include "runtime/stdin_queue.h"

namespace strata::runtime {

// What an exec needs of its container.
struct ExecHost {
  EventLoop& loop;
  ControlServer& server;
  Sandbox& sandbox;
  Cgroup& cgroup;
  int seccomp = -1;
  int oom_score_adj = 0;
};

class ExecSession {
 public:
  struct Handlers {
    std::function<void(ExecSession&)> started;
    std::function<void(ExecSession&, const Failure&)> failed;  // it never ran; ended() follows once it is reaped
    std::function<void(ExecSession&)> ended;                   // streams closed, everything said; the session may be destroyed after it returned
  };

  ExecSession(const ExecHost& host, std::uint32_t id, ConnectionId owner, Handlers handlers);
  ExecSession(const ExecSession&) = delete;
  ExecSession& operator=(const ExecSession&) = delete;
  ~ExecSession();

  Done spawn(const ExecParams& params);

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] ConnectionId owner() const { return owner_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool has_run() const { return started_; }
  [[nodiscard]] int wait_status() const { return status_.value_or(0); }
  // While it runs its command: an object of the method `sessions`.
  [[nodiscard]] bool is_running() const { return started_ && !status_; }
  [[nodiscard]] std::string to_json() const;
  // Once it has ended: an object of the method `endedSessions`.
  [[nodiscard]] std::string end_to_json() const;

  bool push_stdin(std::string_view bytes);
  void grant_output(std::uint32_t bytes);
  void resume_output();
  Done resize(ConsoleSize size);
  // To its process, or to all of the process group that it leads.
  Done signal(int number, bool whole_group) const;
  // The owner is gone: a terminal hangs up, pipes close. The process is reaped when it ends.
  void abandon();
  // The container ended: everything of it is dead. Reaps and ends at once.
  void finish_now();

 private:
  struct Stream {
    FrameType type = FrameType::kStdout;
    UniqueFd end;
    bool watched = false;
  };

  [[noreturn]] void run_between(const ExecParams& params, Channel& channel, std::vector<UniqueFd>& stdio, bool in_unified);
  [[noreturn]] void run_child(const ExecParams& params, Channel& channel, std::vector<UniqueFd>& stdio) const;
  Outcome<std::optional<Message>> receive();
  void on_between_ended();
  void on_channel();
  // Once both have been heard of: it has started, or says why not.
  void conclude();
  void drain_channel();
  void on_reaped();
  [[nodiscard]] bool may_read() const;
  void pump(Stream& stream);
  // Reads until the credit, the data or the stream ends. True where nothing more can come.
  bool read_stream(Stream& stream);
  void close_stream(Stream& stream);
  void watch_streams();
  void end_if_done();

  ExecHost host_;
  std::uint32_t id_;
  ConnectionId owner_;
  Handlers handlers_;
  pid_t between_ = -1, pid_ = -1;
  UniqueFd between_handle_, pidfd_, console_;
  std::vector<UniqueFd> reserve_;  // for the child's pidfd, the terminal and its copies
  SharedPid child_;
  std::optional<Failure> failure_;
  Channel channel_;
  StdinQueue stdin_;
  Stream stdout_{FrameType::kStdout, {}, false}, stderr_{FrameType::kStderr, {}, false};
  std::uint64_t credit_ = 0;
  bool terminal_ = false, attach_stdin_ = false, detached_ = false, executing_ = false, started_ = false, abandoned_ = false, ended_ = false;
  std::optional<int> status_;
  // For whoever asks what runs.
  std::string client_id_, user_;
  std::vector<std::string> command_;
  std::uint64_t started_at_ = 0, start_time_ = 0;
};

// waitpid without EINTR; the status as wait(2) gives it.
int reap(pid_t pid);

}  // namespace strata::runtime
