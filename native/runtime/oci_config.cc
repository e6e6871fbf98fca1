#include "runtime/oci_config.h"

#include <sys/stat.h>

#include <algorithm>

#include "runtime/capability_names.h"
#include "runtime/oci_process_extras.h"
#include "runtime/oci_resources.h"

namespace strata::runtime {
namespace {

constexpr std::size_t kMaxUnknown = 64;        // names that a warning tells
constexpr std::int64_t kMaxId = 0xfffffffe;  // 2^32 - 1 is "no id" to the kernel

struct RlimitName {
  const char* name;
  int resource;
};
constexpr RlimitName kRlimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
};

bool is_absolute(const std::string& path) { return !path.empty() && path.front() == '/'; }

Outcome<std::string> absolute_path(const Json& json) {
  std::string path = TRY(json.text());
  if (!is_absolute(path)) {
    return json.wrong("an absolute path");
  }
  return path;
}

Outcome<std::vector<std::string>> absolute_paths(const Json& json) {
  const std::size_t size = TRY(json.array_size());
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < size; ++i) {
    paths.push_back(TRY(absolute_path(json.at(i))));
  }
  return paths;
}

Outcome<std::uint64_t> capability_set(const Json& json, std::vector<std::string>& unknown) {
  std::uint64_t set = 0;
  for (const std::string& name : TRY(json.texts())) {
    const int number = capability_number(name);
    if (number >= 0) {
      set |= std::uint64_t{1} << number;
    } else if (unknown.size() < kMaxUnknown && std::find(unknown.begin(), unknown.end(), name) == unknown.end()) {
      unknown.push_back(name);
    }
  }
  return set;
}

Done read_capabilities(const Json& json, OciProcess& process) {
  if (json.absent()) {
    return {};
  }
  TRY(json.object());
  CapabilitySets& sets = process.capabilities;
  std::vector<std::string>& unknown = process.unknown_capabilities;
  sets.bounding = TRY(capability_set(json["bounding"], unknown));
  sets.effective = TRY(capability_set(json["effective"], unknown));
  sets.permitted = TRY(capability_set(json["permitted"], unknown));
  sets.inheritable = TRY(capability_set(json["inheritable"], unknown));
  sets.ambient = TRY(capability_set(json["ambient"], unknown));
  return {};
}

Outcome<std::vector<std::pair<int, rlimit>>> read_rlimits(const Json& json) {
  std::vector<std::pair<int, rlimit>> limits;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    const Json type = entry["type"];
    const std::string name = TRY(type.text());
    const auto* const found = std::find_if(std::begin(kRlimits), std::end(kRlimits), [&](const RlimitName& known) { return name == known.name; });
    if (found == std::end(kRlimits)) {
      return type.wrong("a resource limit's name (RLIMIT_NOFILE), not '" + name + "'");
    }
    const rlimit limit{TRY(entry["soft"].natural()), TRY(entry["hard"].natural())};
    if (limit.rlim_cur > limit.rlim_max) {
      return entry.wrong("limits with soft <= hard");
    }
    limits.emplace_back(found->resource, limit);
  }
  return limits;
}

Done read_user(const Json& user, OciProcess& process) {
  if (user.absent()) {
    return {};
  }
  process.username = TRY(user["username"].text_or(""));
  process.uid = static_cast<uid_t>(TRY(user["uid"].optional_integer(0, kMaxId)).value_or(0));
  process.gid = static_cast<gid_t>(TRY(user["gid"].optional_integer(0, kMaxId)).value_or(0));
  const Json groups = user["additionalGids"];
  const std::size_t size = TRY(groups.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    process.additional_gids.push_back(static_cast<gid_t>(TRY(groups.at(i).integer(0, kMaxId))));
  }
  if (const auto mask = TRY(user["umask"].optional_integer(0, 0777))) {
    process.umask = static_cast<mode_t>(*mask);
  }
  return {};
}

Outcome<std::vector<OciMount>> read_mounts(const Json& json, const std::string& bundle) {
  std::vector<OciMount> mounts;
  const std::size_t size = TRY(json.array_size());
  mounts.reserve(size);
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    OciMount mount;
    mount.destination = TRY(absolute_path(entry["destination"]));
    mount.type = TRY(entry["type"].text_or(""));
    mount.source = TRY(entry["source"].text_or(""));
    mount.options = TRY(entry["options"].texts());
    const bool bind = mount.type == "bind" || std::find(mount.options.begin(), mount.options.end(), "bind") != mount.options.end() ||
                      std::find(mount.options.begin(), mount.options.end(), "rbind") != mount.options.end();
    if (bind) {
      mount.type = "bind";
      if (!is_absolute(mount.source) && (bundle.empty() || mount.source.empty())) {
        return entry["source"].wrong("an absolute path on the host");
      }
      if (!is_absolute(mount.source)) {
        mount.source = bundle + "/" + mount.source;
      }
    } else if (mount.type.empty()) {
      return entry["type"].wrong("a file system type or 'bind'");
    }
    mount.uid_map = TRY(read_id_map(entry["uidMappings"]));
    mount.gid_map = TRY(read_id_map(entry["gidMappings"]));
    if (mount.uid_map.empty() != mount.gid_map.empty()) {
      return entry.wrong("with both uidMappings and gidMappings, or neither");
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Outcome<std::vector<OciDevice>> read_devices(const Json& json) {
  std::vector<OciDevice> devices;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    OciDevice device;
    device.path = TRY(absolute_path(entry["path"]));
    const std::string type = TRY(entry["type"].text());
    if (type == "c" || type == "u") {
      device.type = S_IFCHR;
    } else if (type == "b") {
      device.type = S_IFBLK;
    } else if (type == "p") {
      device.type = S_IFIFO;
    } else {
      return entry["type"].wrong("c, b, u or p");
    }
    if (device.type != S_IFIFO) {
      device.major = static_cast<unsigned>(TRY(entry["major"].integer(0, 0xfff)));
      device.minor = static_cast<unsigned>(TRY(entry["minor"].integer(0, 0xfffff)));
    }
    device.mode = static_cast<mode_t>(TRY(entry["fileMode"].optional_integer(0, 07777)).value_or(0666));
    device.uid = static_cast<uid_t>(TRY(entry["uid"].optional_integer(0, kMaxId)).value_or(0));
    device.gid = static_cast<gid_t>(TRY(entry["gid"].optional_integer(0, kMaxId)).value_or(0));
    devices.push_back(std::move(device));
  }
  return devices;
}

Outcome<std::optional<TimeOffset>> read_time_offset(const Json& json) {
  if (json.absent()) {
    return std::optional<TimeOffset>();
  }
  TRY(json.object());
  TimeOffset offset;
  offset.seconds = TRY(json["secs"].optional_integer()).value_or(0);
  offset.nanoseconds = static_cast<std::uint32_t>(TRY(json["nanosecs"].optional_integer(0, 999999999)).value_or(0));
  return std::optional(offset);
}

Done read_namespaces(const Json& namespaces, OciConfig& config) {
  static constexpr std::string_view kKnown[] = {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"};
  const std::size_t size = TRY(namespaces.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = namespaces.at(i);
    std::string type = TRY(entry["type"].text());
    if (std::find(std::begin(kKnown), std::end(kKnown), type) == std::end(kKnown)) {
      return entry["type"].wrong("a kind of namespace (pid, network, mount, ipc, uts, user, cgroup, time), not '" + type + "'");
    }
    if (config.makes_namespace(type) || config.joins_namespace(type)) {
      return entry["type"].wrong("named once: '" + type + "' is there twice");
    }
    std::string path = TRY(entry["path"].text_or(""));
    if (path.empty()) {
      config.namespaces.push_back(std::move(type));
    } else if (is_absolute(path)) {
      config.joined_namespaces.push_back({std::move(type), std::move(path)});
    } else {
      return entry["path"].wrong("an absolute path");
    }
  }
  return {};
}

Outcome<std::vector<std::pair<std::string, std::string>>> read_texts_by_name(const Json& json) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const std::string& name : TRY(json.names())) {
    texts.emplace_back(name, TRY(json[name.c_str()].text()));
  }
  return texts;
}

Done read_linux(const Json& json, OciConfig& config) {
  TRY(read_namespaces(json["namespaces"], config));
  config.uid_map = TRY(read_id_map(json["uidMappings"]));
  config.gid_map = TRY(read_id_map(json["gidMappings"]));
  config.devices = TRY(read_devices(json["devices"]));
  config.masked_paths = TRY(absolute_paths(json["maskedPaths"]));
  config.read_only_paths = TRY(absolute_paths(json["readonlyPaths"]));
  config.sysctl = TRY(read_texts_by_name(json["sysctl"]));
  config.rootfs_propagation = TRY(json["rootfsPropagation"].text_or(""));
  config.monotonic_offset = TRY(read_time_offset(json["timeOffsets"]["monotonic"]));
  config.boottime_offset = TRY(read_time_offset(json["timeOffsets"]["boottime"]));
  config.resources = TRY(read_resources(json["resources"]));
  config.cgroups_path = TRY(json["cgroupsPath"].text_or(""));
  config.personality = TRY(read_personality(json["personality"]));
  config.has_intel_rdt = !json["intelRdt"].absent();
  return {};
}

}  // namespace

Outcome<std::vector<IdMapping>> read_id_map(const Json& json) {
  std::vector<IdMapping> map;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    IdMapping range;
    range.container = static_cast<std::uint32_t>(TRY(entry["containerID"].optional_integer(0, kMaxId)).value_or(0));
    range.host = static_cast<std::uint32_t>(TRY(entry["hostID"].optional_integer(0, kMaxId)).value_or(0));
    range.size = static_cast<std::uint32_t>(TRY(entry["size"].integer(1, kMaxId + 1)));
    map.push_back(range);
  }
  return map;
}

bool OciConfig::makes_namespace(std::string_view type) const { return std::find(namespaces.begin(), namespaces.end(), type) != namespaces.end(); }

bool OciConfig::joins_namespace(std::string_view type) const {
  return std::any_of(joined_namespaces.begin(), joined_namespaces.end(), [&](const OciJoinedNamespace& joined) { return joined.type == type; });
}

Outcome<std::optional<ConsoleSize>> read_console_size(const Json& json, const char* columns, const char* rows) {
  if (json.absent()) {
    return std::optional<ConsoleSize>();
  }
  TRY(json.object());
  ConsoleSize size;
  size.columns = static_cast<unsigned short>(TRY(json[columns].integer(0, 0xffff)));
  size.rows = static_cast<unsigned short>(TRY(json[rows].integer(0, 0xffff)));
  return std::optional(size);
}

Outcome<OciProcess> read_process(const Json& json) {
  TRY(json.object());
  OciProcess process;
  process.terminal = TRY(json["terminal"].boolean_or(false));
  process.console_size = TRY(read_console_size(json["consoleSize"], "width", "height"));
  TRY(read_user(json["user"], process));
  process.args = TRY(json["args"].texts());
  if (process.args.empty() || process.args.front().empty()) {
    return json["args"].wrong("a non-empty array of strings");
  }
  process.env = TRY(json["env"].texts());
  for (const std::string& entry : process.env) {
    if (entry.find('=') == std::string::npos || entry.front() == '=') {
      return json["env"].wrong("strings NAME=value, not '" + entry + "'");
    }
  }
  process.cwd = TRY(json["cwd"].text_or("/"));
  if (!is_absolute(process.cwd)) {
    return json["cwd"].wrong("an absolute path");
  }
  TRY(read_capabilities(json["capabilities"], process));
  process.rlimits = TRY(read_rlimits(json["rlimits"]));
  process.no_new_privileges = TRY(json["noNewPrivileges"].boolean_or(false));
  if (const auto adj = TRY(json["oomScoreAdj"].optional_integer(-1000, 1000))) {
    process.oom_score_adj = static_cast<int>(*adj);
  }
  process.apparmor_profile = TRY(json["apparmorProfile"].text_or(""));
  process.selinux_label = TRY(json["selinuxLabel"].text_or(""));
  process.io_priority = TRY(read_io_priority(json["ioPriority"]));
  process.scheduler = TRY(read_scheduler(json["scheduler"]));
  process.initial_cpus = TRY(read_cpu_list(json["execCPUAffinity"]["initial"]));
  process.final_cpus = TRY(read_cpu_list(json["execCPUAffinity"]["final"]));
  return process;
}

Outcome<OciConfig> read_config(const Json& json, const std::string& bundle) {
  TRY(json.object());
  OciConfig config;
  config.process = TRY(read_process(json["process"]));
  config.root_path = TRY(json["root"]["path"].text_or(""));
  if (!bundle.empty() && !config.root_path.empty() && !is_absolute(config.root_path)) {
    config.root_path = bundle + "/" + config.root_path;
  }
  config.root_read_only = TRY(json["root"]["readonly"].boolean_or(false));
  config.hostname = TRY(json["hostname"].text_or(""));
  config.domainname = TRY(json["domainname"].text_or(""));
  if (config.hostname.size() > 64 || config.domainname.size() > 64) {
    return json[config.hostname.size() > 64 ? "hostname" : "domainname"].wrong("a name of 64 bytes at most");
  }
  config.mounts = TRY(read_mounts(json["mounts"], bundle));
  config.hooks = TRY(read_hooks(json["hooks"]));
  config.annotations = TRY(read_texts_by_name(json["annotations"]));
  TRY(read_linux(json["linux"], config));
  return config;
}

}  // namespace strata::runtime
