#include "runtime/archive.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "core/layer_browse.h"
#include "core/tree_archive.h"
#include "core/tree_extract.h"
#include "core/upper_changes.h"

namespace strata::runtime {
namespace {

constexpr int kControl = 3;
constexpr std::size_t kMostRequest = 4 << 20;
constexpr std::int64_t kMostSeconds = 8'640'000'000'000;

Outcome<std::string> read_request() {
  std::string text;
  std::array<char, 65536> buffer{};
  while (text.size() < kMostRequest) {
    const ssize_t count = ::read(kControl, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      break;
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.ends_with('\n')) {
      return text;
    }
  }
  return refuse(ErrorCode::kInvalidRequest, "no whole request came on descriptor 3");
}

Status write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) {
      return fail_errno("write 'answer'");
    }
    done += count < 0 ? 0 : static_cast<std::size_t>(count);
  }
  return {};
}

const char* kind_name(mode_t mode) {
  return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "directory" : S_ISLNK(mode) ? "symlink" : S_ISFIFO(mode) ? "fifo" : S_ISSOCK(mode) ? "socket" : "device";
}

Outcome<struct stat> tell_stat(int node, const std::string& path) {
  struct stat status {};
  if (::fstat(node, &status) < 0) {
    return refuse_errno(ErrorCode::kInternal, "stat '" + path + "'");
  }
  JsonWriter json;
  json.begin_object();
  json.begin_object("stat");
  json.field("kind", kind_name(status.st_mode));
  json.field("mode", static_cast<std::int64_t>(status.st_mode & 07777));
  json.field("uid", static_cast<std::int64_t>(status.st_uid));
  json.field("gid", static_cast<std::int64_t>(status.st_gid));
  json.field("sizeBytes", static_cast<std::int64_t>(S_ISREG(status.st_mode) ? status.st_size : 0));
  // A file system may keep any number; a Date ends there.
  const std::int64_t seconds = std::clamp<std::int64_t>(status.st_mtim.tv_sec, -kMostSeconds, kMostSeconds);
  json.field("mtimeMs", seconds * 1000 + status.st_mtim.tv_nsec / 1'000'000);
  if (S_ISLNK(status.st_mode)) {
    std::string target(4096, '\0');
    const ssize_t length = ::readlinkat(node, "", target.data(), target.size());
    target.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    json.field("linkTarget", target);
  }
  json.end_object();
  json.end_object();
  TRY(write_all(kControl, json.take() + "\n"));
  return status;
}

// Dies with the helper, whatever it waits for. Once: what changes the credentials of a process takes it back.
Done die_with(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "ask for the signal at the parent's end");
  }
  if (::getppid() != parent) {
    return refuse(ErrorCode::kInternal, "the process that asked is gone");
  }
  return {};
}

std::string done_json(std::uint64_t entries, std::uint64_t bytes, std::uint64_t left_out) {
  JsonWriter json;
  json.begin_object();
  json.begin_object("done");
  json.field("entries", entries);
  json.field("bytes", bytes);
  json.field("leftOut", left_out);
  json.end_object();
  json.end_object();
  return json.take();
}

Outcome<std::string> send_archive(Sys& sys, const ArchiveRequest& request, int root) {
  ArchiveOptions options;
  UniqueFd node;
  if (request.action == ArchiveAction::kExport) {
    options.name = ".";
    options.emptied = request.emptied;
    node = TRY(sys.open_at(root, "/", O_PATH | O_DIRECTORY, 0, kResolveInRoot));
  } else {
    options.name = request.name;
    node = TRY(sys.open_at(root, request.path, O_PATH | (request.follows ? 0 : O_NOFOLLOW), 0, kResolveInRoot));
    TRY(tell_stat(node.get(), request.path));
  }
  const Archived archived = TRY(archive_tree(node.get(), STDOUT_FILENO, options));
  return done_json(archived.entries, archived.bytes, archived.left_out);
}

Outcome<std::string> take_archive(Sys& sys, const ArchiveRequest& request, int root) {
  const UniqueFd directory = TRY(sys.open_at(root, request.path, O_PATH | O_DIRECTORY, 0, kResolveInRoot));
  const Extracted extracted = TRY(extract_archive(STDIN_FILENO, root, request.path, {.keeps_owners = request.keeps_owners}));
  return done_json(extracted.entries, extracted.bytes, extracted.left_out);
}

std::string change_json(const UpperChange& change) {
  JsonWriter json;
  json.begin_object();
  json.field("change", change.kind == ChangeKind::kAdded ? "A" : change.kind == ChangeKind::kChanged ? "C" : "D");
  json.field("path", change.path);
  json.field("kind", layer_entry_kind_name(change.node));
  json.field("sizeBytes", change.size_bytes);
  json.end_object();
  return json.take() + "\n";
}

Outcome<std::string> send_changes(const ArchiveRequest& request) {
  constexpr std::size_t kBlock = 128 << 10;
  std::string block;
  std::uint64_t entries = 0;
  const ChangeVisitor visit = [&](const UpperChange& change) -> Status {
    block += change_json(change);
    ++entries;
    if (block.size() < kBlock) {
      return {};
    }
    return write_all(STDOUT_FILENO, std::exchange(block, {}));
  };
  TRY(find_upper_changes(request.layers.upper, request.layers.lower, visit));
  TRY(write_all(STDOUT_FILENO, block));
  return done_json(entries, 0, 0);
}

Outcome<std::string> act() {
  const pid_t parent = ::getppid();
  const std::string text = TRY(read_request());
  const JsonDocument document = TRY(JsonDocument::parse(text));
  const ArchiveRequest request = TRY(read_archive_request(document.root()));
  Sys& sys = real_sys();
  if (request.action == ArchiveAction::kChanges) {
    TRY(die_with(parent));
    return send_changes(request);
  }
  // Closed before the answer: then what it held is unmounted, and on the disk.
  const UniqueFd root = TRY(open_view(sys, request.view, request.action == ArchiveAction::kExport));
  TRY(die_with(parent));
  switch (request.action) {
    case ArchiveAction::kStat: {
      const UniqueFd node = TRY(sys.open_at(root.get(), request.path, O_PATH | (request.follows ? 0 : O_NOFOLLOW), 0, kResolveInRoot));
      TRY(tell_stat(node.get(), request.path));
      return done_json(1, 0, 0);
    }
    case ArchiveAction::kGet:
    case ArchiveAction::kExport:
      return send_archive(sys, request, root.get());
    case ArchiveAction::kPut:
      return take_archive(sys, request, root.get());
    case ArchiveAction::kChanges:
      break;
  }
  return std::string();
}

}  // namespace

Outcome<ArchiveRequest> read_archive_request(const Json& json) {
  static constexpr std::pair<const char*, ArchiveAction> kActions[] = {
      {"stat", ArchiveAction::kStat}, {"get", ArchiveAction::kGet}, {"put", ArchiveAction::kPut}, {"export", ArchiveAction::kExport}, {"changes", ArchiveAction::kChanges}};
  TRY(json.object());
  ArchiveRequest request;
  const std::string action = TRY(json["action"].text());
  bool known = false;
  for (const auto& [name, value] : kActions) {
    if (action == name) {
      request.action = value;
      known = true;
    }
  }
  if (!known) {
    return json["action"].wrong("stat, get, put, export or changes");
  }
  const auto absolute = [](const Json& path) -> Outcome<std::string> {
    std::string text = TRY(path.text());
    return text.starts_with('/') ? Outcome<std::string>(std::move(text)) : path.wrong("an absolute path");
  };
  if (request.action == ArchiveAction::kChanges) {
    request.layers.upper = TRY(absolute(json["upper"]));
    request.layers.lower = TRY(json["lower"].texts());
    return request;
  }
  request.view = TRY(read_view(json["view"]));
  if (request.action == ArchiveAction::kExport) {
    if (!json["emptied"].absent()) {
      request.emptied = TRY(json["emptied"].texts());
    }
    return request;
  }
  request.path = TRY(absolute(json["path"]));
  request.follows = TRY(json["follow"].boolean_or(false));
  request.keeps_owners = TRY(json["keepOwners"].boolean_or(false));
  if (request.action == ArchiveAction::kGet) {
    request.name = TRY(json["name"].text());
    if (request.name.empty()) {
      return json["name"].wrong("a name");
    }
  }
  return request;
}

int archive() {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::umask(0);
  ::signal(SIGPIPE, SIG_IGN);
  const auto done = act();
  if (done) {
    best_effort(write_all(kControl, *done + "\n") ? 0 : -1);
    return 0;
  }
  best_effort(write_all(kControl, "{\"error\":" + to_json(done.error()) + "}\n") ? 0 : -1);
  return 1;
}

}  // namespace strata::runtime
