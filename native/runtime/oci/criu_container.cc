#include "runtime/oci/criu_container.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/oci/criu_log.h"
#include "runtime/oci/files.h"

namespace strata::runtime::oci {
namespace {

Outcome<CriuCgroups> cgroups_mode(const std::string& name) {
  static constexpr std::pair<const char*, CriuCgroups> kModes[] = {
      {"", CriuCgroups::kDefault}, {"soft", CriuCgroups::kSoft}, {"full", CriuCgroups::kFull}, {"strict", CriuCgroups::kStrict}, {"ignore", CriuCgroups::kIgnore}};
  const auto* const found = std::find_if(std::begin(kModes), std::end(kModes), [&](const auto& mode) { return name == mode.first; });
  if (found == std::end(kModes)) {
    return refuse(ErrorCode::kInvalidRequest, "--manage-cgroups-mode must be soft, full, strict or ignore, not '" + name + "'");
  }
  return found->second;
}

Done make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) < 0 && errno != EEXIST) {
      return refuse_errno(ErrorCode::kInvalidRequest, "make the directory '" + part + "'", "", part);
    }
    if (slash == std::string::npos) {
      return {};
    }
  }
}

Outcome<UniqueFd> open_directory(const std::string& path, bool make) {
  if (make) {
    TRY(make_directories(path));
  }
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    return refuse_errno(ErrorCode::kInvalidRequest, "open the directory '" + path + "'", "", path);
  }
  return directory;
}

bool is_pipe_name(const std::string& name) {
  return name.starts_with("pipe:[") && name.ends_with(']') && name.size() > 7 && name.size() < 32 && name.find_first_not_of("0123456789", 6) == name.size() - 1;
}

}  // namespace

const std::vector<Option>& criu_options() {
  static const std::vector<Option> options = {
      {"image-path"}, {"work-path"}, {"tcp-established", 0, false}, {"ext-unix-sk", 0, false}, {"shell-job", 0, false}, {"file-locks", 0, false},
      {"manage-cgroups-mode"}, {"empty-ns"}, {"auto-dedup", 0, false}, {"lazy-pages", 0, false},
  };
  return options;
}

Outcome<CriuSettings> criu_settings(const Options& options, const std::string& program) {
  if (options.has("lazy-pages")) {
    return refuse(ErrorCode::kInvalidRequest, "--lazy-pages is not available: memory is written to the images and read from them as a whole");
  }
  CriuSettings settings;
  settings.program = program;
  settings.work_path = options.value("work-path");
  if (options.has("image-path")) {
    settings.image_path = options.value("image-path");
  }
  CriuOptions& criu = settings.options;
  criu.tcp_established = options.has("tcp-established");
  criu.ext_unix_sockets = options.has("ext-unix-sk");
  criu.shell_job = options.has("shell-job");
  criu.file_locks = options.has("file-locks");
  criu.auto_dedup = options.has("auto-dedup");
  criu.cgroups = TRY(cgroups_mode(options.value("manage-cgroups-mode")));
  criu.orphan_terminals = true;
  for (const std::string& kind : options.values("empty-ns")) {
    if (kind != "network") {
      return refuse(ErrorCode::kInvalidRequest, "--empty-ns must be network, not '" + kind + "'");
    }
  }
  // Interfaces and routes are the business of whoever made them, as they are when a container is created.
  criu.empty_namespaces = CLONE_NEWNET;
  return settings;
}

Outcome<CriuDirectories> open_directories(const CriuSettings& settings, bool make) {
  CriuDirectories directories;
  directories.images = TRY(open_directory(settings.image_path, make));
  if (!settings.work_path.empty()) {
    directories.work = TRY(open_directory(settings.work_path, true));
  }
  directories.log_place = settings.work_path.empty() ? settings.image_path : settings.work_path;
  return directories;
}

std::vector<std::string> external_mounts(const MountPlan& plan) {
  std::vector<std::string> targets;
  for (const MountStep& step : plan.steps) {
    if (step.kind == MountStep::Kind::kBind) {
      targets.push_back(step.target);
    }
  }
  return targets;
}

std::string external_namespace_key(const std::string& kind) { return kind == "network" ? "extRootNetNS" : "extRootPidNS"; }

std::string criu_config_file(const OciConfig& config) {
  const auto named = std::find_if(config.annotations.begin(), config.annotations.end(), [](const auto& annotation) { return annotation.first == "org.criu.config"; });
  return named == config.annotations.end() ? "/etc/criu/runc.conf" : named->second;
}

Done check_restorable(const OciConfig& config) {
  if (config.makes_namespace("user")) {
    return refuse(ErrorCode::kInvalidRequest, "a container with a user namespace cannot be checkpointed or restored", ENOTSUP, "the root of the namespace could not read the images");
  }
  for (const OciJoinedNamespace& joined : config.joined_namespaces) {
    if (joined.type != "network" && joined.type != "pid" && joined.type != "ipc" && joined.type != "uts") {
      return refuse(ErrorCode::kInvalidRequest, "a container in the " + joined.type + " namespace '" + joined.path + "' cannot be checkpointed or restored", ENOTSUP,
                    "of those that are joined criu puts network, pid, ipc and uts namespaces back");
    }
  }
  return {};
}

std::array<std::string, 3> stream_names() {
  std::array<std::string, 3> names;
  for (std::size_t fd = 0; fd < names.size(); ++fd) {
    std::array<char, 64> target{};
    const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target.data(), target.size());
    if (std::string name(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0); is_pipe_name(name)) {
      names[fd] = std::move(name);
    }
  }
  return names;
}

std::string encode_streams(const std::array<std::string, 3>& names) {
  return R"([")" + names[0] + R"(",")" + names[1] + R"(",")" + names[2] + R"("])";  // nothing in them has to be quoted
}

std::array<std::string, 3> decode_streams(const Json& json) {
  std::array<std::string, 3> names;
  const std::size_t size = std::min(json.array_size().value_or(0), names.size());
  for (std::size_t i = 0; i < size; ++i) {
    if (auto name = json.at(i).text(); name && is_pipe_name(*name)) {
      names[i] = std::move(*name);
    }
  }
  return names;
}

Failure with_log(Failure failure, const CriuDirectories& directories, const std::string& log_file, const std::string& what) {
  const std::string complaints = criu_complaints_in(directories.logs(), log_file);
  if (complaints.empty() || failure.code != ErrorCode::kInternal) {
    return failure;
  }
  return {ErrorCode::kInternal, Error{0, what + ": criu failed: " + complaints, "its log is '" + directories.log_place + "/" + log_file + "'; `criu check` says whether it works on this kernel"}};
}

}  // namespace strata::runtime::oci
