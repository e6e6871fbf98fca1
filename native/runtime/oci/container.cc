#include "runtime/oci/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/cgroup_freezer.h"
#include "core/pseudo_file.h"
#include "core/tree.h"
#include "runtime/clock.h"
#include "runtime/exit_record.h"
#include "runtime/oci/criu_container.h"
#include "runtime/oci/files.h"

namespace strata::runtime::oci {
namespace {

constexpr char kStartSocket[] = "start.sock";

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Outcome<ProcessIdentity> read_identity(const Json& json) {
  ProcessIdentity identity;
  identity.pid = static_cast<pid_t>(TRY(json["pid"].integer(0, 0x7fffffff)));
  identity.start_time = TRY(json["startTime"].natural());
  return identity;
}

void write_identity(JsonWriter& json, const char* name, const ProcessIdentity& identity) {
  json.begin_object(name);
  json.field("pid", static_cast<std::int64_t>(identity.pid));
  json.field("startTime", identity.start_time);
  json.end_object();
}

// The socket is addressed through the directory's descriptor: an engine's state directory may well be longer than sun_path.
sockaddr_un start_address(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, kStartSocket);
  return address;
}

Status make_directories(const std::string& path) {
  // What is sticky below a user's XDG_RUNTIME_DIR is not taken for forgotten (XDG Base Directory Specification).
  const mode_t mode = ::geteuid() == 0 ? 0711 : 0711 | S_ISVTX;
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), mode) < 0 && errno != EEXIST) {
      return fail_errno("make the directory '" + part + "'");
    }
    if (slash == std::string::npos) {
      return {};
    }
  }
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kCreating: return "creating";
    case Phase::kCreated: return "created";
    case Phase::kRunning: return "running";
    case Phase::kPaused: return "paused";
    case Phase::kStopped: return "stopped";
  }
  return "stopped";
}

ProcessIdentity ProcessIdentity::of(pid_t pid) { return {pid, process_start_time(pid)}; }

bool ProcessIdentity::is_alive(const std::string& its_boot_id) const {
  if (pid <= 0 || its_boot_id != runtime::boot_id()) {
    return false;
  }
  const auto text = read_pseudo_file(AT_FDCWD, "/proc/" + std::to_string(pid) + "/stat");
  if (!text || process_start_time(pid) != start_time) {
    return false;
  }
  // The name in field 2 may hold anything: the state is behind the last ')'.
  const std::size_t end = text->rfind(')');
  const char state = end == std::string::npos || end + 2 >= text->size() ? 'X' : (*text)[end + 2];
  return state != 'Z' && state != 'X';
}

Done Container::check_id(const std::string& id) {
  const bool plain = !id.empty() && id.size() <= 1024 && id != "." && id != ".." &&
                     id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") == std::string::npos;
  if (!plain) {
    return refuse(ErrorCode::kInvalidRequest, "invalid container id '" + id + "': it must be letters, digits, '_', '+', '-' and '.'");
  }
  return {};
}

Outcome<Container> Container::make(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  TRY(classify(make_directories(root), ErrorCode::kInternal));
  const std::string path = root + "/" + id;
  if (::mkdir(path.c_str(), 0700) < 0) {
    if (errno == EEXIST) {
      return refuse(ErrorCode::kInvalidState, "container with id exists: " + id, 0, "delete it first, or use another id");
    }
    return refuse_errno(ErrorCode::kInternal, "make the state directory '" + path + "'", "", path);
  }
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory) {
    const int reason = errno;
    ::rmdir(path.c_str());
    return refuse(ErrorCode::kInternal, "open the state directory '" + path + "'", reason, "", path);
  }
  Container container(std::move(directory), path);
  container.record.id = id;
  return container;
}

Outcome<Container> Container::open(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  const std::string path = root + "/" + id;
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory) {
    if (errno == ENOENT) {
      return refuse(ErrorCode::kNoSuchSession, "container \"" + id + "\" does not exist: container does not exist");
    }
    return refuse_errno(ErrorCode::kInternal, "open the state directory '" + path + "'", "", path);
  }
  Container container(std::move(directory), path);
  container.record.id = id;
  // A crash can have left the directory without a record: there is such a container then, it is stopped, and delete removes it.
  if (auto loaded = container.load(); !loaded && loaded.error().error.errno_value != ENOENT) {
    return std::unexpected(std::move(loaded).error());
  }
  return container;
}

Outcome<std::vector<std::string>> Container::list(const std::string& root) {
  std::vector<std::string> ids;
  const std::unique_ptr<DIR, DirectoryCloser> directory(::opendir(root.c_str()));
  if (directory == nullptr) {
    if (errno == ENOENT) {
      return ids;
    }
    return refuse_errno(ErrorCode::kInternal, "read the directory '" + root + "'");
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
      ids.emplace_back(entry->d_name);
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Done Container::load() {
  const std::string text = TRY(read_whole_file(directory_.get(), "state.json"));
  const JsonDocument document = TRY(JsonDocument::parse(text));
  const Json root = document.root();
  if (TRY(root["formatVersion"].integer()) != 1) {
    return refuse(ErrorCode::kInvalidState, "'" + path_ + "/state.json' was written by a newer strata-runtime", 0, "use that version");
  }
  record.bundle = TRY(root["bundle"].text());
  record.rootfs = TRY(root["rootfs"].text());
  record.created = TRY(root["created"].text());
  record.boot_id = TRY(root["bootId"].text());
  record.cgroup_path = TRY(root["cgroupPath"].text());
  record.systemd_unit = TRY(root["systemdUnit"].text_or(""));
  record.annotations = TRY(root["annotations"].text());
  record.streams = decode_streams(root["streams"]);
  record.creator = TRY(read_identity(root["creator"]));
  record.init = TRY(read_identity(root["init"]));
  return {};
}

Done Container::save() const {
  JsonWriter json;
  json.begin_object();
  json.field("formatVersion", 1);
  json.field("id", record.id);
  json.field("bundle", record.bundle);
  json.field("rootfs", record.rootfs);
  json.field("created", record.created);
  json.field("bootId", record.boot_id);
  json.field("cgroupPath", record.cgroup_path);
  json.field("systemdUnit", record.systemd_unit);
  json.field("annotations", record.annotations);
  json.raw_field("streams", encode_streams(record.streams));
  write_identity(json, "creator", record.creator);
  write_identity(json, "init", record.init);
  json.end_object();
  return replace_file(path_ + "/state.json", json.take(), false);
}

Done Container::save_config(std::string_view text) const { return replace_file(path_ + "/config.json", std::string(text), false); }
Outcome<std::string> Container::config_text() const { return read_whole_file(directory_.get(), "config.json"); }

Phase Container::phase() const {
  if (!record.init.is_alive(record.boot_id)) {
    return record.init.pid == 0 && record.creator.is_alive(record.boot_id) ? Phase::kCreating : Phase::kStopped;
  }
  struct stat status {};
  // A socket that is left over has no listener: `start` was killed before it could remove it.
  if (::fstatat(directory_.get(), kStartSocket, &status, AT_SYMLINK_NOFOLLOW) == 0 && connect_to_start()) {
    return Phase::kCreated;
  }
  const auto cgroup = open_cgroup();
  return cgroup && is_frozen(*cgroup) ? Phase::kPaused : Phase::kRunning;
}

std::string Container::state_json(Phase phase, pid_t pid, bool extended) const {
  JsonWriter json;
  json.begin_object();
  json.field("ociVersion", "1.2.0");
  json.field("id", record.id);
  json.field("pid", static_cast<std::int64_t>(pid));
  json.field("status", phase_name(phase));
  json.field("bundle", record.bundle);
  if (extended) {
    json.field("rootfs", record.rootfs);
    json.field("created", record.created);
  }
  json.raw_field("annotations", record.annotations);
  if (extended) {
    json.field("owner", "");
  }
  json.end_object();
  return json.take();
}

Done Container::remove() const { return classify(remove_tree(path_), ErrorCode::kInternal, "remove the state of container '" + record.id + "'"); }

Outcome<std::string> Container::make_directory(const std::string& name) const {
  if (::mkdirat(directory_.get(), name.c_str(), 0755) < 0) {
    return refuse_errno(ErrorCode::kInternal, "make the directory '" + path_ + "/" + name + "'");
  }
  return real_path(path_ + "/" + name);
}

void Container::remove_directory(const std::string& name) const { ::unlinkat(directory_.get(), name.c_str(), AT_REMOVEDIR); }

UniqueFd Container::open_directory(const std::string& name) const {
  return UniqueFd(::openat(directory_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

std::string Container::owner() const {
  struct stat status {};
  return ::fstat(directory_.get(), &status) < 0 || status.st_uid == 0 ? "root" : "#" + std::to_string(status.st_uid);
}

Outcome<UniqueFd> Container::listen_for_start() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const sockaddr_un address = start_address(directory_.get());
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 || ::listen(socket.get(), 8) < 0) {
    return refuse_errno(ErrorCode::kInternal, "make the socket that start connects to");
  }
  return socket;
}

UniqueFd Container::connect_to_start() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const sockaddr_un address = start_address(directory_.get());
  if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    socket.reset();
  }
  return socket;
}

void Container::unlink_start_socket() const { ::unlinkat(directory_.get(), kStartSocket, 0); }

Outcome<Cgroup> Container::open_cgroup() const {
  if (record.cgroup_path.empty()) {
    return refuse(ErrorCode::kCgroupFailed, "container '" + record.id + "' has no cgroup", ENOENT);
  }
  const CgroupHost host = TRY(classify(CgroupHost::probe(), ErrorCode::kCgroupFailed));
  return classify(Cgroup::open(host, record.cgroup_path), ErrorCode::kCgroupFailed);
}

Outcome<UniqueFd> Container::open_init() const {
  UniqueFd handle(record.init.pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, record.init.pid, 0)) : -1);
  // Only who is still the same after the descriptor was taken is meant by it.
  if (!handle || !record.init.is_alive(record.boot_id)) {
    return refuse(ErrorCode::kInvalidState, "container not running", 0, "the process of container '" + record.id + "' has ended");
  }
  return handle;
}

}  // namespace strata::runtime::oci
