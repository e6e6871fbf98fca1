// The supervisor's methods around exec: sessions that are begun, listed, signalled and left.
#include "runtime/clock.h"
#include "runtime/supervisor.h"

#include <sys/wait.h>

namespace strata::runtime {
namespace {

// As the owner of a session: no connection has this number.
constexpr ConnectionId kNobody = 0;
// A list goes out in pieces of about this size.
constexpr std::size_t kMaxListBytes = 256 * 1024;
// Of sessions that have ended. While no helper is there none begin: more than ran at its end cannot end.
constexpr std::size_t kKeptEnds = 256;

}  // namespace

Done Supervisor::exec(ConnectionId connection, const std::string& request, const Json& params) {
  if (phase_ != Phase::kRunning) {
    return refuse(ErrorCode::kInvalidState, std::string("exec needs a running container; this one is ") + phase_name());
  }
  ExecParams exec = TRY(read_exec_params(params));
  exec.detach = exec.detach && params_.wire >= 2;
  const std::uint32_t id = next_session_++;
  ExecSession::Handlers handlers;
  handlers.started = [this](ExecSession& session) {
    const Pending waiting = exec_requests_[session.id()];
    respond(waiting.connection, waiting.id,
            "{\"session\":" + std::to_string(session.id()) + ",\"pid\":" + std::to_string(session.pid()) + ",\"startTime\":" + std::to_string(process_start_time(session.pid())) + "}");
    exec_requests_.erase(session.id());
  };
  handlers.failed = [this](ExecSession& session, const Failure& failure) {
    const Pending waiting = exec_requests_[session.id()];
    respond(waiting.connection, waiting.id, failure);
    exec_requests_.erase(session.id());
  };
  handlers.ended = [this](ExecSession& session) {
    if (session.has_run()) {
      const int status = session.wait_status();
      const bool signalled = WIFSIGNALED(status);
      const std::string event = "{\"event\":\"execExited\",\"session\":" + std::to_string(session.id()) +
                                ",\"code\":" + (signalled ? "null" : std::to_string(WEXITSTATUS(status))) + ",\"signal\":" + (signalled ? std::to_string(WTERMSIG(status)) : "null") + "}";
      say(event);
      ended_execs_.push_back(session.end_to_json());
      if (ended_execs_.size() > kKeptEnds) {
        ended_execs_.pop_front();
      }
      if (const auto owner = subscribers_.find(session.owner()); session.owner() != kNobody && (owner == subscribers_.end() || !owner->second.events)) {
        server_.send(session.owner(), FrameType::kEvent, 0, event);
      }
    }
    const auto found = execs_.find(session.id());
    ended_exec_ = std::move(found->second);
    execs_.erase(found);
  };
  const ExecHost host{loop_, server_, sandbox_, cgroup_, seccomp_.get(), container_oom_score_adj_};
  auto session = std::make_unique<ExecSession>(host, id, exec.detach ? kNobody : connection, std::move(handlers));
  if (auto spawned = session->spawn(exec); !spawned) {
    return spawned.error().error.errno_value == EMFILE ? too_many_sessions(EMFILE) : std::unexpected(std::move(spawned).error());
  }
  exec_requests_[id] = {connection, request};
  execs_[id] = std::move(session);
  return {};
}

Outcome<std::string> Supervisor::sessions(const Json& params) const {
  const std::int64_t after = TRY(params["after"].optional_integer(0, 0xffffffff)).value_or(0);
  std::string list;
  bool more = false;
  for (auto found = execs_.upper_bound(static_cast<std::uint32_t>(after)); found != execs_.end() && !more; ++found) {
    if (found->second->is_running()) {
      list += (list.empty() ? "" : ",") + found->second->to_json();
      more = list.size() > kMaxListBytes;
    }
  }
  return "{\"sessions\":[" + list + "],\"more\":" + (more ? "true" : "false") + "}";
}

std::string Supervisor::ended_sessions() const {
  std::string list;
  for (const std::string& end : ended_execs_) {
    list += (list.empty() ? "" : ",") + end;
  }
  return "{\"sessions\":[" + list + "]}";
}

Done Supervisor::signal_exec(const Json& params) {
  const auto session = static_cast<std::uint32_t>(TRY(params["session"].integer(1, 0xffffffff)));
  const auto signal = static_cast<int>(TRY(params["signal"].integer(1, 64)));
  const bool whole_group = TRY(params["group"].boolean_or(false));
  const auto found = execs_.find(session);
  if (found == execs_.end()) {
    return no_such_session(session);
  }
  return found->second->signal(signal, whole_group);
}

void Supervisor::on_connection_closed(ConnectionId connection) {
  subscribers_.erase(connection);
  std::vector<std::uint32_t> owned;
  for (const auto& [id, session] : execs_) {
    if (session->owner() == connection) {
      owned.push_back(id);
    }
  }
  for (const std::uint32_t id : owned) {
    if (const auto found = execs_.find(id); found != execs_.end()) {
      found->second->abandon();
    }
  }
}

}  // namespace strata::runtime
