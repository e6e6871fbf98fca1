#include "runtime/oci/front_door.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>

#include "runtime/exec_session.h"
#include "runtime/oci/checkpoint.h"
#include "runtime/oci/context.h"
#include "runtime/oci/create.h"
#include "runtime/oci/criu.h"
#include "runtime/oci/exec.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/inspect.h"
#include "runtime/oci/lifecycle.h"
#include "runtime/oci/notify.h"
#include "runtime/oci/passed_fds.h"
#include "runtime/oci/restore.h"
#include "runtime/oci/spec.h"
#include "runtime/oci/start.h"
#include "runtime/oci/update.h"
#include "runtime/own_binary.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

// The exit status, or why it did not work.
using Ended = Outcome<int>;

struct Command {
  const char* name;
  const char* usage;
  std::vector<Option> options;
  std::size_t least_operands, most_operands;
  Ended (*run)(Context&, const Options&);
  std::size_t operands_before_end = ~std::size_t{0};
};

// "1m30s", "100ms", as Go writes durations; a bare number is seconds.
Outcome<int> duration_ms(const std::string& text, int missing) {
  const auto wrong = [&] { return refuse(ErrorCode::kInvalidRequest, "--interval must be a duration above 0 as in 5s or 100ms, not '" + text + "'"); };
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"", 1e3}};
  double sum = 0;
  for (std::string_view rest = text; !rest.empty();) {
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const std::string_view unit = rest.substr(0, rest.find_first_of("0123456789."));
    const auto* const known = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& entry) { return unit == entry.first; });
    if (error != std::errc() || known == std::end(kUnits) || !(number >= 0)) {
      return wrong();
    }
    rest.remove_prefix(unit.size());
    sum += number * known->second;
  }
  if (!text.empty() && (sum < 1 || sum > 1e9)) {
    return wrong();
  }
  return text.empty() ? missing : static_cast<int>(sum);
}

Outcome<CreateOptions> create_options(const Options& options) {
  CreateOptions create;
  create.passed_fds = TRY(passed_fds(options));
  create.id = options.operands()[0];
  create.bundle = options.value("bundle");
  create.pid_file = options.value("pid-file");
  create.console_socket = options.value("console-socket");
  create.pidfd_socket = options.value("pidfd-socket");
  create.no_pivot = options.has("no-pivot");
  create.new_keyring = !options.has("no-new-keyring");
  return create;
}

Outcome<Container> open_container(const Context& context, const Options& options) { return Container::open(context.root, options.operands()[0]); }

Ended create(Context& context, const Options& options) {
  const CreateOptions wanted = TRY(create_options(options));
  TRY(run_from_read_only_mount(context.argv));
  TRY(create_container(context, wanted));
  return 0;
}

Ended start(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  TRY(start_container(context, container));
  return 0;
}

Ended stay_until_end(Context& context, Created& created, const UniqueFd& signals, bool keep, NotifyRelay relay = {}) {
  const int status = stay_in_foreground(created.container.record.init.pid, signals, std::move(created.console), std::move(relay));
  trace::mark("wait for the exit");
  if (!keep) {
    TRY(delete_container(context, created.container, true));
  }
  return status;
}

Ended run(Context& context, const Options& options) {
  CreateOptions wanted = TRY(create_options(options));
  wanted.starts_itself = true;
  const bool detach = options.has("detach");
  wanted.foreground = !detach;
  TRY(run_from_read_only_mount(context.argv));
  UniqueFd signals;
  if (!detach) {
    signals = take_signals();
  }
  Created created = TRY(create_container(context, wanted));
  const pid_t pid = created.container.record.init.pid;
  auto relay = NotifyRelay::listen(context, created.container);
  auto started = relay ? start_over(context, created.container, created.bundle, created.channel) : Done(std::unexpected(relay.error()));
  if (!started) {
    // It may still wait for the order that did not reach it.
    ::syscall(SYS_pidfd_send_signal, created.init.get(), SIGKILL, nullptr, 0);
    reap(pid);
    static_cast<void>(delete_container(context, created.container, true));
    return std::unexpected(std::move(started).error());
  }
  created.channel.close();
  if (detach) {
    relay->wait(created.init.get(), pid);
    return 0;
  }
  return stay_until_end(context, created, signals, options.has("keep"), std::move(*relay));
}

Ended state(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  std::puts(TRY(state_text(container)).c_str());
  return 0;
}

Ended list(Context& context, const Options& options) {
  std::string text = TRY(list_text(context, options.value("format"), options.has("quiet")));
  if (text.ends_with('\n')) {
    text.pop_back();
  }
  if (!text.empty()) {
    std::puts(text.c_str());
  }
  return 0;
}

Ended kill(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  const int signal = TRY(parse_signal(options.operands().size() > 1 ? options.operands()[1] : "SIGTERM"));
  TRY(kill_container(container, signal, options.has("all")));
  return 0;
}

Ended remove(Context& context, const Options& options) {
  const bool force = options.has("force");
  auto container = open_container(context, options);
  if (!container && force && container.error().code == ErrorCode::kNoSuchSession) {
    return 0;
  }
  const Container found = TRY(std::move(container));
  TRY(delete_container(context, found, force));
  return 0;
}

Ended exec(Context& context, const Options& options) {
  ExecOptions wanted;
  wanted.passed_fds = TRY(passed_fds(options));
  wanted.process_file = options.value("process");
  wanted.args.assign(options.operands().begin() + 1, options.operands().end());
  wanted.env = options.values("env");
  wanted.capabilities = options.values("cap");
  wanted.cwd = options.value("cwd");
  wanted.user = options.value("user");
  wanted.apparmor = options.value("apparmor");
  wanted.process_label = options.value("process-label");
  for (const std::string& gid : options.values("additional-gids")) {
    gid_t number = 0;
    const auto [end, error] = std::from_chars(gid.data(), gid.data() + gid.size(), number);
    if (error != std::errc() || end != gid.data() + gid.size() || number == static_cast<gid_t>(-1)) {
      return refuse(ErrorCode::kInvalidRequest, "--additional-gids must be a number, not '" + gid + "'");
    }
    wanted.additional_gids.push_back(number);
  }
  wanted.cgroups = options.values("cgroup");
  wanted.pidfd_socket = options.value("pidfd-socket");
  wanted.tty = options.has("tty");
  wanted.no_new_privileges = options.has("no-new-privs");
  wanted.ignores_paused = options.has("ignore-paused");
  wanted.detach = options.has("detach");
  wanted.console_socket = options.value("console-socket");
  wanted.pid_file = options.value("pid-file");
  const Container container = TRY(open_container(context, options));
  TRY(run_from_read_only_mount(context.argv));
  return exec_in_container(context, container, wanted);
}

Ended ps(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  const std::vector<std::string> arguments(options.operands().begin() + 1, options.operands().end());
  std::fputs(TRY(ps_text(container, options.value("format"), arguments)).c_str(), stdout);
  return 0;
}

Ended pause(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  TRY(set_paused(container, true));
  return 0;
}

Ended resume(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  TRY(set_paused(container, false));
  return 0;
}

Ended update(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  for (const char* ignored : {"kernel-memory", "kernel-memory-tcp"}) {
    if (options.has(ignored)) {
      context.log.warning(std::string("--") + ignored + " is ignored: the kernel has no such limit any more");
    }
  }
  const CgroupResources resources = TRY(resources_of(options));
  TRY(update_container(container, resources));
  return 0;
}

Ended events(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  const int interval_ms = TRY(duration_ms(options.value("interval"), 5000));
  TRY(print_events(container, interval_ms, options.has("stats")));
  return 0;
}

Ended spec(Context&, const Options& options) {
  TRY(write_spec(options.value("bundle"), options.has("rootless")));
  return 0;
}

Ended features(Context&, const Options&) {
  std::puts(features_document().c_str());
  return 0;
}

Ended checkpoint(Context& context, const Options& options) {
  const Container container = TRY(open_container(context, options));
  TRY(checkpoint_container(context, container, options));
  return 0;
}

Ended restore(Context& context, const Options& options) {
  CreateOptions wanted = TRY(create_options(options));
  const bool detach = options.has("detach");
  wanted.foreground = !detach;
  UniqueFd signals;
  if (!detach) {
    signals = take_signals();
  }
  Created restored = TRY(restore_container(context, wanted, options));
  return detach ? 0 : stay_until_end(context, restored, signals, options.has("keep"));
}

const std::vector<Option>& create_flags() {
  static const std::vector<Option> flags = {{"bundle", 'b'},           {"console-socket"},          {"pid-file"},          {"preserve-fds"}, {"pidfd-socket"},
                                            {"no-pivot", 0, false}, {"no-new-keyring", 0, false}, {"detach", 'd', false}, {"keep", 0, false}, {"no-subreaper", 0, false}};
  return flags;
}

const std::vector<Command>& commands() {
  static const std::vector<Command> list_of_commands = {
      {"create", "[--bundle DIR] [--pid-file FILE] [--console-socket PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] ID", create_flags(), 1, 1, create},
      {"start", "ID", {}, 1, 1, start},
      {"run", "[--detach] [--keep] and what create takes ID", create_flags(), 1, 1, run},
      {"state", "ID", {}, 1, 1, state},
      {"list", "[--format table|json] [--quiet]", {{"format", 'f'}, {"quiet", 'q', false}}, 0, 0, list},
      {"kill", "[--all] ID [SIGNAL]", {{"all", 'a', false}}, 1, 2, kill},
      {"delete", "[--force] ID", {{"force", 'f', false}}, 1, 1, remove},
      {"exec", "[--process FILE] [--tty] [--detach] [--pid-file FILE] [--console-socket PATH] [--user UID[:GID]] [--cwd DIR] [--env NAME=VALUE]... ID [COMMAND...]",
       {{"process", 'p'}, {"tty", 't', false}, {"detach", 'd', false}, {"pid-file"}, {"console-socket"}, {"user", 'u'}, {"cwd"}, {"env", 'e'}, {"cap", 'c'},
        {"additional-gids", 'g'}, {"preserve-fds"}, {"no-new-privs", 0, false}, {"ignore-paused", 0, false}, {"apparmor"}, {"process-label"}, {"cgroup"},
        {"pidfd-socket"}, {"no-subreaper", 0, false}},
       1, ~std::size_t{0}, exec, 1},
      {"ps", "[--format table|json] ID [ps options]", {{"format", 'f'}}, 1, ~std::size_t{0}, ps, 1},
      {"pause", "ID", {}, 1, 1, pause},
      {"resume", "ID", {}, 1, 1, resume},
      {"update", "[--resources FILE|-] [--memory N] [--cpu-quota N] [--pids-limit N] ... ID", update_options(), 1, 1, update},
      {"events", "[--stats] [--interval SECONDS] ID", {{"stats", 0, false}, {"interval"}}, 1, 1, events},
      {"spec", "[--bundle DIR] [--rootless]", {{"bundle", 'b'}, {"rootless", 0, false}}, 0, 0, spec},
      {"features", "", {}, 0, 0, features},
      {"checkpoint", "[--image-path DIR] [--work-path DIR] [--leave-running] [--tcp-established] [--pre-dump] [--parent-path DIR] ... ID", checkpoint_options(), 1, 1, checkpoint},
      {"restore", "[--bundle DIR] [--image-path DIR] [--work-path DIR] [--detach] [--pid-file FILE] [--console-socket PATH] ... ID", restore_options(), 1, 1, restore},
  };
  return list_of_commands;
}

const std::vector<Option>& global_options() {
  static const std::vector<Option> options = {{"root"},          {"log"},           {"log-format"},    {"debug", 0, false}, {"systemd-cgroup", 0, false}, {"rootless"},
                                              {"criu"}, {"trace"}, {"help", 'h', false}, {"version", 'v', false}, {"cgroup-manager"}};
  return options;
}

void print_help() {
  std::puts("usage: strata-runtime [global options] COMMAND [options] [operands]\n\nglobal options:\n"
            "  --root DIR             state of containers (default /run/strata-runtime, without root $XDG_RUNTIME_DIR/strata-runtime)\n"
            "  --log FILE             where errors go besides stderr\n"
            "  --log-format text|json\n"
            "  --debug\n"
            "  --systemd-cgroup       cgroupsPath is slice:prefix:name, a scope of systemd\n"
            "  --rootless auto|true|false  do without cgroups that are not to be had (auto: where the caller is not root)\n"
            "  --criu FILE            the program that checkpoints and restores (default criu)\n"
            "  --trace FILE           append what was done when, a line a step\n"
            "  --version\n\ncommands:");
  for (const Command& command : commands()) {
    std::printf("  %-12s %s\n", command.name, command.usage);
  }
}

bool asks_for_help(const std::vector<std::string>& arguments) {
  return !arguments.empty() && (arguments.front() == "--help" || arguments.front() == "-h" || arguments.front() == "help");
}

Ended dispatch(Context& context, const std::string& name, const std::vector<std::string>& arguments) {
  const auto command = std::find_if(commands().begin(), commands().end(), [&](const Command& known) { return name == known.name; });
  if (command == commands().end()) {
    return refuse(ErrorCode::kInvalidRequest, "unknown command '" + name + "'", 0, "strata-runtime --help lists them");
  }
  if (asks_for_help(arguments)) {
    std::printf("usage: strata-runtime %s %s\n", command->name, command->usage);
    // How engines find out whether there are checkpoints.
    const bool takes_criu = command->run == checkpoint || command->run == restore;
    return takes_criu && !find_criu(context.criu) ? 1 : 0;
  }
  const Options options = TRY(Options::parse(command->options, arguments, command->operands_before_end));
  const std::size_t operands = options.operands().size();
  if (operands < command->least_operands || operands > command->most_operands) {
    return refuse(ErrorCode::kInvalidRequest, std::string(command->name) + " takes: " + command->usage);
  }
  return command->run(context, options);
}

}  // namespace

bool is_oci_command(const std::vector<std::string>& arguments) {
  static const std::vector<std::string> supervisors = {"supervise", "archive", "compile-seccomp", "probe"};
  return arguments.empty() || std::find(supervisors.begin(), supervisors.end(), arguments.front()) == supervisors.end();
}

int run_oci_command(const std::vector<std::string>& arguments, char* const* argv) {
  Context context;
  context.argv = argv;
  const auto global = Options::parse(global_options(), arguments, 1);
  if (!global) {
    context.log.error(sentence_of(global.error()));
    return 1;
  }
  context.log.open(global->value("log"), global->value("log-format") == "json", global->has("debug"));
  if (auto traced = trace::open(global->value("trace")); !traced) {
    context.log.error(sentence_of(traced.error()));
    return 1;
  }
  trace::mark("begin");
  context.privilege = own_privilege();
  context.root = global->has("root") ? global->value("root") : default_root(context.privilege);
  const auto rootless = is_rootless(global->value("rootless"), context.privilege);
  if (!rootless) {
    context.log.error(sentence_of(rootless.error()));
    return 1;
  }
  // Root itself needs the cgroup: its device rules are what keeps the container from the host's disks.
  context.rootless = *rootless && context.privilege != Privilege::kRoot;
  context.criu = global->value("criu");
  context.systemd_cgroup = global->has("systemd-cgroup") || global->value("cgroup-manager") == "systemd";
  if (global->has("version")) {
    // The form that engines read: name, "version", number; commit; spec.
    std::puts("strata-runtime version " STRATA_VERSION "\ncommit: " STRATA_VERSION "\nspec: 1.2.0");
    return 0;
  }
  if (global->operands().empty() || global->has("help") || global->operands().front() == "help") {
    print_help();
    return global->has("help") || !global->operands().empty() ? 0 : 1;
  }
  const std::vector<std::string> rest(global->operands().begin() + 1, global->operands().end());
  const Ended ended = dispatch(context, global->operands().front(), rest);
  if (!ended) {
    context.log.error(sentence_of(ended.error()));
    const int status = exit_code_of(ended.error().code);
    // As runc: 1 could be the command's own.
    return status >= 0 ? status : global->operands().front() == "exec" ? 255 : 1;
  }
  return *ended;
}

}  // namespace strata::runtime::oci
