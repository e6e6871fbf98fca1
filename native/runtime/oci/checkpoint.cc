#include "runtime/oci/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/sys.h"
#include "runtime/exit_record.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/criu.h"
#include "runtime/oci/criu_container.h"
#include "runtime/oci/lifecycle.h"
#include "runtime/oci/new_container.h"
#include "runtime/oci/notify.h"

namespace strata::runtime::oci {
namespace {

constexpr char kLogFile[] = "dump.log";

// As /proc/PID/mountinfo has it: links in the way are followed. What is no file of the root itself (below a mount) is taken as it stands.
std::string place_in(int root, const std::string& target) {
  const auto there = real_sys().open_at(root, target, O_PATH, 0, kResolveInRoot);
  if (!there) {
    return target;
  }
  const auto name_of = [](int fd) {
    std::string name(4096, '\0');
    const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name.data(), name.size());
    name.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return name;
  };
  const std::string base = name_of(root);
  const std::string name = name_of(there->get());
  return !base.empty() && name.starts_with(base + "/") ? name.substr(base.size()) : target;
}

std::string freezer_of(const Cgroup& cgroup) {
  const CgroupHost& host = cgroup.host();
  const int index = host.mode() == CgroupMode::kV2 ? host.unified() : host.find("freezer");
  return index < 0 ? "" : host.hierarchies()[static_cast<std::size_t>(index)].mount_point + cgroup.path();
}

Done name_externals(const Container& container, const Bundle& bundle, const Cgroup& cgroup, CriuOptions& criu) {
  OciConfig config = bundle.config;
  if (container.open_directory(kNotifyDirectory)) {
    add_notify_socket(config, container.record.rootfs);  // the source does not matter
  }
  const MountPlan plan = TRY(build_mount_plan(config, plan_facts(config, Privilege::kRoot, cgroup.host(), container.record.cgroup_path)));
  const UniqueFd root(::open(container.record.rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const std::string& target : external_mounts(plan)) {
    criu.external.push_back("mnt[" + (root ? place_in(root.get(), target) : target) + "]:" + target);
  }
  for (const OciJoinedNamespace& joined : config.joined_namespaces) {
    if (joined.type != "network" && joined.type != "pid") {
      continue;
    }
    struct stat status {};
    if (::stat(joined.path.c_str(), &status) < 0) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "look at the " + joined.type + " namespace '" + joined.path + "'", "", joined.path);
    }
    criu.external.push_back(std::string(joined.type == "network" ? "net" : "pid") + "[" + std::to_string(status.st_ino) + "]:" + external_namespace_key(joined.type));
  }
  return {};
}

Done check_parent(const std::string& image_path, const std::string& parent) {
  if (parent.starts_with('/')) {
    return refuse(ErrorCode::kInvalidRequest, "--parent-path must be relative to --image-path, not '" + parent + "'");
  }
  struct stat status {};
  const std::string path = image_path + "/" + parent;
  if (::stat(path.c_str(), &status) < 0) {
    return refuse_errno(ErrorCode::kInvalidRequest, "find --parent-path '" + path + "'", "", path);
  }
  return S_ISDIR(status.st_mode) ? Done() : refuse(ErrorCode::kInvalidRequest, "--parent-path '" + path + "' is no directory", ENOTDIR);
}

}  // namespace

const std::vector<Option>& checkpoint_options() {
  static const std::vector<Option> options = [] {
    std::vector<Option> all = criu_options();
    for (const Option& own : std::initializer_list<Option>{{"leave-running", 0, false}, {"tcp-skip-in-flight", 0, false}, {"link-remap", 0, false}, {"pre-dump", 0, false},
                                                          {"parent-path"}, {"status-fd"}, {"page-server"}}) {
      all.push_back(own);
    }
    return all;
  }();
  return options;
}

Done checkpoint_container(Context& context, const Container& container, const Options& options) {
  for (const char* const missing : {"status-fd", "page-server"}) {
    if (options.has(missing)) {
      return refuse(ErrorCode::kInvalidRequest, std::string("--") + missing + " is not available: pages go to --image-path");
    }
  }
  if (context.privilege != Privilege::kRoot) {
    return refuse(ErrorCode::kInvalidRequest, "checkpoint is for root", EPERM);
  }
  CriuSettings settings = TRY(criu_settings(options, context.criu));
  const std::string program = TRY(find_criu(settings.program));
  const Phase phase = container.phase();
  if (phase != Phase::kRunning && phase != Phase::kPaused) {
    return refuse(ErrorCode::kInvalidState, std::string("Container cannot be checkpointed in ") + phase_name(phase) + " state");
  }
  const std::string text = TRY(container.config_text());
  const Bundle bundle = TRY(read_config_of(text, container.record.bundle));
  TRY(check_restorable(bundle.config));
  const Cgroup cgroup = TRY(container.open_cgroup());
  const UniqueFd init = TRY(container.open_init());
  CriuOptions& criu = settings.options;
  const bool pre_dump = options.has("pre-dump");
  const CriuDirectories directories = TRY(open_directories(settings, true));
  criu.parent_image = options.value("parent-path");
  if (!criu.parent_image.empty()) {
    TRY(check_parent(settings.image_path, criu.parent_image));
  }
  criu.pid = container.record.init.pid;
  criu.log_file = kLogFile;
  criu.root = container.record.rootfs;
  criu.config_file = criu_config_file(bundle.config);
  criu.freeze_cgroup = freezer_of(cgroup);
  criu.leave_running = options.has("leave-running");
  criu.tcp_skip_in_flight = options.has("tcp-skip-in-flight");
  criu.link_remap = options.has("link-remap");
  criu.track_memory = pre_dump || !criu.parent_image.empty();
  criu.external_masters = true;
  if (!pre_dump) {
    TRY(name_externals(container, bundle, cgroup, criu));
    TRY(replace_file(settings.image_path + "/" + kStreamsFile, encode_streams(container.record.streams), false));
  }
  Criu process = TRY(Criu::start({.program = program, .images = settings.image_path, .work = settings.work_path, .passed = {}, .root = {}, .root_place = {}}));
  const auto done = process.work(pre_dump ? CriuType::kPreDump : CriuType::kDump, criu, [&](const CriuAnswer& answer, UniqueFd) -> Done {
    context.log.debug("criu: " + answer.notification);
    return {};
  });
  if (!done) {
    return std::unexpected(with_log(done.error(), directories, kLogFile, "checkpoint container '" + container.record.id + "'"));
  }
  return criu.leave_running || pre_dump ? Done() : delete_container(context, container, true);
}

}  // namespace strata::runtime::oci
