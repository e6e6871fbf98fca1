#include "runtime/oci/restore.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <functional>

#include "core/path.h"
#include "core/pseudo_file.h"
#include "runtime/environment.h"
#include "runtime/exec_session.h"
#include "runtime/init.h"
#include "runtime/oci/criu.h"
#include "runtime/oci/criu_container.h"
#include "runtime/oci/files.h"
#include "runtime/oci/namespaces.h"
#include "runtime/oci/new_container.h"

namespace strata::runtime::oci {
namespace {

constexpr char kLogFile[] = "restore.log";
constexpr char kRootPlace[] = "criu-root";

bool is_below(const std::string& path, const std::string& directory) { return path.starts_with(directory + "/"); }

// criu mounts what was mounted and makes no mount points but those of a tmpfs, whose files it has. The root may be a new copy of the image.
Done make_mount_points(const std::string& rootfs, const MountPlan& plan) {
  Sys& sys = real_sys();
  const UniqueFd root = TRY(classify(sys.open_at(AT_FDCWD, rootfs, O_RDONLY | O_DIRECTORY, 0, 0), ErrorCode::kMountFailed, "open the root file system", rootfs));
  std::vector<std::string> mounted;
  for (const MountStep& step : plan.steps) {
    if (step.kind != MountStep::Kind::kFilesystem && step.kind != MountStep::Kind::kBind) {
      continue;
    }
    const bool in_another = std::any_of(mounted.begin(), mounted.end(), [&](const std::string& other) { return is_below(step.target, other); });
    mounted.push_back(step.target);
    if (in_another) {
      continue;
    }
    bool directory = true;
    if (step.kind == MountStep::Kind::kBind) {
      const std::string& source = plan.binds.at(step.index).path;
      const UniqueFd opened = TRY(classify(sys.open_at(AT_FDCWD, source, O_PATH, 0, 0), ErrorCode::kMountFailed, "bind from the host", source));
      directory = S_ISDIR(TRY(classify(sys.stat_fd(opened.get()), ErrorCode::kMountFailed)).st_mode);
    }
    TRY(classify(directory ? open_or_make_directory(sys, root.get(), step.target) : open_or_make_file(sys, root.get(), step.target), ErrorCode::kMountFailed,
                 "make the mount point '" + step.target + "'", step.target));
  }
  return {};
}

// "4:memory,cpu:/a" → {memory, /a}, {cpu, /a}; "0::/a" → {"", /a}.
TextPairs cgroup_roots_of(pid_t pid) {
  TextPairs roots;
  const std::string text = read_pseudo_file(AT_FDCWD, "/proc/" + std::to_string(pid) + "/cgroup").value_or("");
  std::string_view rest = text;
  std::string_view line;
  while (next_line(rest, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) {
      continue;
    }
    const std::string path(line.substr(second + 1));
    std::string_view names = line.substr(first + 1, second - first - 1);
    for (;;) {
      const std::size_t comma = names.find(',');
      roots.emplace_back(names.substr(0, comma), path);
      if (comma == std::string_view::npos) {
        break;
      }
      names.remove_prefix(comma + 1);
    }
  }
  return roots;
}

// In a process of its own, for this one stays on the host. `file` is of /proc/PID/ns.
Done do_in_namespace(pid_t pid, const char* file, int kind, const std::function<Done()>& work, const char* what) {
  const UniqueFd other(::open(("/proc/" + std::to_string(pid) + "/ns/" + file).c_str(), O_RDONLY | O_CLOEXEC));
  if (!other) {
    return refuse_errno(ErrorCode::kNamespaceFailed, what);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const bool well = ::setns(other.get(), kind) == 0 && work();
    ::_exit(well ? 0 : errno == 0 ? 255 : std::min(errno, 255));
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (child < 0 || status != 0) {
    return refuse(ErrorCode::kNamespaceFailed, what, child < 0 ? errno : WEXITSTATUS(status));
  }
  return {};
}

// criu leaves a network namespace that it makes as it is born.
Done bring_loopback_up_in(pid_t pid) { return do_in_namespace(pid, "net", CLONE_NEWNET, loopback_up, "bring the loopback interface up in the container"); }

// criu takes the root as it is mounted for it, which it writes into. Nothing of the container runs yet.
Done make_root_read_only_in(pid_t pid) {
  const auto work = []() -> Done {
    const UniqueFd root = TRY(classify(real_sys().open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0), ErrorCode::kMountFailed));
    MountAttributes attributes;
    attributes.set = MOUNT_ATTR_RDONLY;
    return classify(real_sys().set_attributes(root.get(), attributes), ErrorCode::kMountFailed);
  };
  return do_in_namespace(pid, "mnt", CLONE_NEWNS, work, "make the container's root read-only");
}

class Restoration {
 public:
  Restoration(Context& context, const CreateOptions& create, CriuSettings settings, std::string program, Container container, Bundle bundle)
      : context_(context), create_(create), settings_(std::move(settings)), program_(std::move(program)), made_(context, std::move(container), std::move(bundle)) {}

  Outcome<Created> run(const CriuDirectories& directories) {
    TRY(made_.record_intent());
    Cgroup cgroup = TRY(made_.make_cgroup());
    const MountPlan plan = TRY(build_mount_plan(config(), plan_facts(config(), context_.privilege, cgroup.host(), cgroup.path())));
    TRY(make_mount_points(config().root_path, plan));
    CriuChild child{.program = program_, .cgroup = &cgroup, .images = settings_.image_path, .work = settings_.work_path, .passed = {}, .root = config().root_path, .root_place = {}, .dies_with_parent = true};
    child.root_place = TRY(made_.container.make_directory(kRootPlace));
    TRY(describe(plan, child, directories.images.get()));
    TRY(restore(child, directories));
    made_.container.remove_directory(kRootPlace);
    TRY(finish());
    made_.commit();
    return Created{std::move(made_.container), std::move(made_.bundle), std::move(init_), Channel(), std::move(console_)};
  }

 private:
  [[nodiscard]] const OciConfig& config() const { return made_.config(); }

  Done describe(const MountPlan& plan, CriuChild& child, int images) {
    CriuOptions& criu = settings_.options;
    criu.log_file = kLogFile;
    criu.root = child.root_place;
    criu.config_file = criu_config_file(config());
    criu.evasive_devices = true;
    criu.restores_sibling = true;
    for (const MountStep& step : plan.steps) {
      if (step.kind == MountStep::Kind::kBind) {
        criu.external.push_back("mnt[" + step.target + "]:" + plan.binds.at(step.index).path);
      }
    }
    for (const OciJoinedNamespace& joined : config().joined_namespaces) {
      if (joined.type == "ipc" || joined.type == "uts") {
        criu.joined.emplace_back(joined.type, joined.path);
        continue;
      }
      UniqueFd fd(::open(joined.path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!fd) {
        return refuse_errno(ErrorCode::kNamespaceFailed, "open the " + joined.type + " namespace '" + joined.path + "'", "", joined.path);
      }
      criu.inherited.emplace_back(external_namespace_key(joined.type), kFirstPassedFd + static_cast<int>(child.passed.size()));
      child.passed.push_back(fd.get());
      namespaces_.push_back(std::move(fd));
    }
    const std::string text = TRY(read_whole_file(images, kStreamsFile));
    const JsonDocument document = TRY(JsonDocument::parse(text));
    const auto streams = decode_streams(document.root());
    for (std::size_t fd = 0; fd < streams.size(); ++fd) {
      if (!streams[fd].empty()) {
        criu.inherited.emplace_back(streams[fd], static_cast<int>(fd));
      }
    }
    return {};
  }

  Done restore(const CriuChild& child, const CriuDirectories& directories) {
    Criu criu = TRY(Criu::start(child));
    settings_.options.cgroup_roots = cgroup_roots_of(criu.pid());
    const auto done = criu.work(CriuType::kRestore, settings_.options, [&](const CriuAnswer& answer, UniqueFd fd) { return notified(answer, std::move(fd)); });
    made_.release_scope();
    if (!done) {
      return std::unexpected(with_log(done.error(), directories, kLogFile, "restore container '" + create_.id + "'"));
    }
    pid_ = done->pid;
    init_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (pid_ <= 0 || !init_) {
      return refuse_errno(ErrorCode::kInternal, "find the container's init after criu had restored it");
    }
    made_.undo_with([pid = pid_] {
      ::kill(pid, SIGKILL);
      reap(pid);
    });
    return {};
  }

  Done notified(const CriuAnswer& answer, UniqueFd fd) {
    context_.log.debug("criu: " + answer.notification);
    if (answer.notification == "setup-namespaces") {
      if (config().makes_namespace("network")) {
        TRY(bring_loopback_up_in(answer.pid));
      }
      const std::string state = made_.container.state_json(Phase::kCreating, answer.pid, false);
      TRY(run_hooks(config().hooks.prestart, "prestart", state, made_.bundle.path, own_environment()));
      return run_hooks(config().hooks.create_runtime, "createRuntime", state, made_.bundle.path, own_environment());
    }
    if (answer.notification == "post-restore" && config().root_read_only) {
      return make_root_read_only_in(answer.pid);
    }
    if (answer.notification == "orphan-pts-master" && fd) {
      if (create_.console_socket.empty()) {
        console_ = std::move(fd);
      } else {
        TRY(send_console(create_.console_socket, fd.get()));
      }
    }
    return {};
  }

  // Before 3.19 criu does not put it back, and nobody else can.
  void warn_of_privileges() {
    const std::string status = read_pseudo_file(AT_FDCWD, "/proc/" + std::to_string(pid_) + "/status").value_or("");
    if (config().process.no_new_privileges && status.find("\nNoNewPrivs:\t0\n") != std::string::npos) {
      context_.log.warning("criu has not restored noNewPrivileges: set-user-ID programs in the container give privileges now; criu 3.19 and later restore it");
    }
  }

  Done finish() {
    warn_of_privileges();
    TRY(made_.record_init(pid_));
    if (!create_.pid_file.empty()) {
      TRY(write_pid_file(create_.pid_file, pid_));
    }
    return {};
  }

  Context& context_;
  const CreateOptions& create_;
  CriuSettings settings_;
  std::string program_;
  NewContainer made_;
  std::vector<UniqueFd> namespaces_;
  pid_t pid_ = -1;
  UniqueFd init_;  // pidfd
  UniqueFd console_;
};

}  // namespace

const std::vector<Option>& restore_options() {
  static const std::vector<Option> options = [] {
    std::vector<Option> all = criu_options();
    for (const Option& own : std::initializer_list<Option>{{"bundle", 'b'}, {"console-socket"}, {"pid-file"}, {"detach", 'd', false}, {"keep", 0, false},
                                                          {"no-subreaper", 0, false}, {"no-pivot", 0, false}, {"lsm-profile"}, {"lsm-mount-context"}}) {
      all.push_back(own);
    }
    return all;
  }();
  return options;
}

Outcome<Created> restore_container(Context& context, const CreateOptions& create, const Options& options) {
  if (context.privilege != Privilege::kRoot) {
    return refuse(ErrorCode::kInvalidRequest, "restore is for root", EPERM);
  }
  CriuSettings settings = TRY(criu_settings(options, context.criu));
  if (settings.options.cgroups == CriuCgroups::kStrict) {
    return refuse(ErrorCode::kInvalidRequest, "restore has no --manage-cgroups-mode strict: criu would refuse the cgroup that is there already, and this runtime makes it", 0, "use soft, or leave it out");
  }
  settings.options.lsm_profile = options.value("lsm-profile");
  settings.options.lsm_mount_context = options.value("lsm-mount-context");
  std::string program = TRY(find_criu(settings.program));
  TRY(Container::check_id(create.id));
  Bundle bundle = TRY(read_bundle(create.bundle));
  TRY(check_namespaces(bundle.config));
  TRY(check_restorable(bundle.config));
  TRY(check_terminal(bundle.config.process, create));
  const CriuDirectories directories = TRY(open_directories(settings, false));
  Container container = TRY(Container::make(context.root, create.id));
  return Restoration(context, create, std::move(settings), std::move(program), std::move(container), std::move(bundle)).run(directories);
}

}  // namespace strata::runtime::oci
