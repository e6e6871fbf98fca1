#include "runtime/oci/start.h"

#include <sys/socket.h>

#include "runtime/environment.h"
#include "runtime/oci/notify.h"
#include "runtime/oci/send_fd.h"
#include "runtime/oci/unix_socket.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

// runtime-spec, "The Container Process State": one message with the state and the descriptors that it names.
Done send_listener(const SeccompExtras& seccomp, const std::string& state, pid_t pid, int listener) {
  const UniqueFd socket = TRY(connect_to(seccomp.listener_path, SOCK_STREAM, ErrorCode::kSeccompFailed, "seccomp agent at linux.seccomp.listenerPath"));
  JsonWriter json;
  json.begin_object();
  json.field("ociVersion", "1.2.0");
  json.raw_field("fds", "[\"seccompFd\"]");
  json.field("pid", static_cast<std::int64_t>(pid));
  json.field("metadata", seccomp.listener_metadata);
  json.raw_field("state", state);
  json.end_object();
  const std::string text = json.take();
  return classify(send_fd(socket.get(), text, listener), ErrorCode::kSeccompFailed, "send the seccomp listener");
}

}  // namespace

Done await_execution(Context& context, const SeccompExtras& seccomp, const std::string& state, const Channel& channel) {
  bool executing = false;
  for (;;) {
    std::optional<Message> message = TRY(channel.receive());
    if (!message) {
      if (executing) {
        return {};
      }
      return refuse(ErrorCode::kInternal, "the process was killed before it could start its program", 0, "its memory or pids limit may be too low to start in");
    }
    if (message->kind == MessageKind::kExecuting) {
      executing = true;
    } else if (message->kind == MessageKind::kWarning) {
      context.log.warning(message->text);
    } else if (message->kind == MessageKind::kListener && message->fds.size() == 1) {
      const auto document = JsonDocument::parse(state);
      const pid_t pid = document ? static_cast<pid_t>(document->root()["pid"].integer().value_or(0)) : 0;
      TRY(send_listener(seccomp, state, pid, message->fds[0].get()));
    } else if (message->kind == MessageKind::kFailed) {
      return std::unexpected(decode_failure(*message));
    } else {
      return refuse(ErrorCode::kInternal, "unexpected message from the container's init");
    }
  }
}

Done start_over(Context& context, const Container& container, const Bundle& bundle, const Channel& channel) {
  if (auto sent = channel.send(MessageKind::kStart); !sent) {
    return std::unexpected(cause_of(channel, std::move(sent).error()));
  }
  const pid_t pid = container.record.init.pid;
  TRY(await_execution(context, bundle.seccomp, container.state_json(Phase::kCreated, pid, false), channel));
  trace::mark("wait for init's execve");
  container.unlink_start_socket();
  // The container runs: what a hook thinks of that is for the log.
  if (auto hooked = run_hooks(bundle.config.hooks.poststart, "poststart", container.state_json(Phase::kRunning, pid, false), bundle.path, own_environment()); !hooked) {
    context.log.warning(sentence_of(hooked.error()));
  }
  return {};
}

Done start_container(Context& context, const Container& container) {
  const Phase phase = container.phase();
  if (phase != Phase::kCreated) {
    const std::string why = phase == Phase::kStopped ? "cannot start a container that has stopped" : std::string("cannot start an already ") + phase_name(phase) + " container";
    return refuse(ErrorCode::kInvalidState, why, 0, "container '" + container.record.id + "'");
  }
  const std::string config_text = TRY(container.config_text());
  const Bundle bundle = TRY(read_config_of(config_text, container.record.bundle));
  const Channel channel(container.connect_to_start());
  if (!channel.open()) {
    return refuse(ErrorCode::kInvalidState, "cannot start a container that has stopped", 0, "its init ended while it waited");
  }
  NotifyRelay relay = TRY(NotifyRelay::listen(context, container));
  const UniqueFd init = relay.waits() ? TRY(container.open_init()) : UniqueFd();
  auto started = start_over(context, container, bundle, channel);
  if (started) {
    relay.wait(init.get(), container.record.init.pid);
  }
  if (!started && is_for_program_to_tell(started.error())) {
    context.log.warning(sentence_of(started.error()));
    return {};
  }
  return started;
}

bool is_for_program_to_tell(const Failure& failure) {
  return failure.code == ErrorCode::kCommandNotFound || failure.code == ErrorCode::kCommandNotExecutable || failure.code == ErrorCode::kWorkingDirectory;
}

}  // namespace strata::runtime::oci
