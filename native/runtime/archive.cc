#include "runtime/archive.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "core/container_tree.h"
#include "core/layer_pack.h"
#include "core/tree_archive.h"
#include "core/tree_extract.h"
#include "core/upper_changes.h"
#include "runtime/change_json.h"

namespace strata::runtime {
namespace {

constexpr int kControl = 3;
constexpr std::size_t kMostRequest = 4 << 20;
constexpr double kMostMs = 8.64e15;

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

void put_entry(JsonWriter& json, const LayerEntry& entry) {
  json.field("kind", layer_entry_kind_name(entry.kind));
  json.field("mode", static_cast<std::int64_t>(entry.mode));
  json.field("uid", static_cast<std::int64_t>(entry.uid));
  json.field("gid", static_cast<std::int64_t>(entry.gid));
  json.field("sizeBytes", entry.size_bytes);
  // A file system may keep any number; a Date ends there.
  json.field("mtimeMs", static_cast<std::int64_t>(std::clamp(entry.mtime_ms, -kMostMs, kMostMs)));
  if (entry.link_target) {
    json.field("linkTarget", *entry.link_target);
  }
  if (entry.link_kind) {
    json.field("linkKind", layer_entry_kind_name(*entry.link_kind));
  }
}

Status tell_stat(const LayerEntry& entry, bool read_only) {
  JsonWriter json;
  json.begin_object();
  json.begin_object("stat");
  put_entry(json, entry);
  if (read_only) {
    json.field("readOnly", true);
  }
  json.end_object();
  json.end_object();
  return write_all(kControl, json.take() + "\n");
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
    struct stat status {};
    if (::fstat(node.get(), &status) < 0) {
      return refuse_errno(ErrorCode::kInternal, "stat '" + request.path + "'");
    }
    TRY(tell_stat(describe_node(node.get(), status, ""), false));
  }
  const Archived archived = TRY(archive_tree(node.get(), STDOUT_FILENO, options));
  return done_json(archived.entries, archived.bytes, archived.left_out);
}

Outcome<std::string> take_archive(Sys& sys, const ArchiveRequest& request, int root) {
  const UniqueFd directory = TRY(sys.open_at(root, request.path, O_PATH | O_DIRECTORY, 0, kResolveInRoot));
  const Extracted extracted = TRY(extract_archive(STDIN_FILENO, root, request.path, {.keeps_owners = request.keeps_owners}));
  return done_json(extracted.entries, extracted.bytes, extracted.left_out);
}

Outcome<std::string> send_changes(const ArchiveRequest& request) {
  constexpr std::size_t kBlock = 128 << 10;
  std::string block;
  std::uint64_t entries = 0;
  const ChangeVisitor visit = [&](const UpperChange& change) -> Status {
    block += change_json(change, request.details);
    ++entries;
    if (block.size() < kBlock) {
      return {};
    }
    return write_all(STDOUT_FILENO, std::exchange(block, {}));
  };
  TRY(find_upper_changes(request.layers.upper, request.layers.lower, visit, {.details = request.details}));
  TRY(write_all(STDOUT_FILENO, block));
  return done_json(entries, 0, 0);
}

Outcome<std::string> send_layer(Sys& sys, const ArchiveRequest& request) {
  const UniqueFd upper = TRY(sys.open_at(AT_FDCWD, request.layers.upper, O_RDONLY | O_DIRECTORY, 0, 0));
  const PackedDirectory packed = TRY(pack_directory(upper.get(), STDOUT_FILENO, {.sockets_hide = true, .changes = true, .left_out = request.left_out}));
  return done_json(packed.entries, packed.size_bytes, 0);
}

// Lines of JSON on standard output.
Outcome<std::string> send_list(const ArchiveRequest& request, int root) {
  const LayerListing listing = TRY(list_tree(root, request.path));
  std::string lines;
  for (const LayerEntry& entry : listing.entries) {
    JsonWriter json;
    json.begin_object();
    json.field("name", entry.name);
    put_entry(json, entry);
    json.end_object();
    lines += json.take() + "\n";
  }
  TRY(write_all(STDOUT_FILENO, lines));
  return done_json(listing.entries.size(), 0, listing.truncated ? 1 : 0);
}

Outcome<std::string> send_file(const ArchiveRequest& request, int root) {
  const TreeStat found = TRY(stat_tree(root, request.path, true));
  TRY(tell_stat(found.entry, found.read_only));
  return done_json(1, TRY(read_tree_file(root, request.path, STDOUT_FILENO)), 0);
}

Outcome<std::string> change(const ArchiveRequest& request, int root) {
  if (request.action == ArchiveAction::kWrite) {
    TRY(write_tree_file(root, request.path, STDIN_FILENO, {.size_bytes = request.size_bytes, .creates = request.creates, .replaces = request.replaces}));
  } else if (request.action == ArchiveAction::kMakeDirectory) {
    TRY(make_tree_directory(root, request.path));
  } else if (request.action == ArchiveAction::kRemove) {
    TRY(remove_tree_entry(root, request.path, request.recursive));
  } else {
    TRY(rename_tree_entry(root, request.path, request.to, request.replaces));
  }
  return done_json(1, request.size_bytes, 0);
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
  if (request.action == ArchiveAction::kLayer) {
    TRY(die_with(parent));
    return send_layer(sys, request);
  }
  // Closed before the answer: then what it held is unmounted, and on the disk.
  const UniqueFd root = TRY(open_view(sys, request.view, request.action == ArchiveAction::kExport));
  TRY(die_with(parent));
  switch (request.action) {
    case ArchiveAction::kStat: {
      const TreeStat found = TRY(stat_tree(root.get(), request.path, request.follows));
      TRY(tell_stat(found.entry, found.read_only));
      return done_json(1, 0, 0);
    }
    case ArchiveAction::kList:
      return send_list(request, root.get());
    case ArchiveAction::kRead:
      return send_file(request, root.get());
    case ArchiveAction::kWrite:
    case ArchiveAction::kMakeDirectory:
    case ArchiveAction::kRemove:
    case ArchiveAction::kRename:
      return change(request, root.get());
    case ArchiveAction::kGet:
    case ArchiveAction::kExport:
      return send_archive(sys, request, root.get());
    case ArchiveAction::kPut:
      return take_archive(sys, request, root.get());
    case ArchiveAction::kChanges:
    case ArchiveAction::kLayer:
      break;
  }
  return std::string();
}

}  // namespace

Outcome<ArchiveRequest> read_archive_request(const Json& json) {
  static constexpr std::pair<const char*, ArchiveAction> kActions[] = {
      {"stat", ArchiveAction::kStat},       {"get", ArchiveAction::kGet},     {"put", ArchiveAction::kPut},       {"export", ArchiveAction::kExport},
      {"changes", ArchiveAction::kChanges}, {"layer", ArchiveAction::kLayer}, {"list", ArchiveAction::kList},     {"read", ArchiveAction::kRead},
      {"write", ArchiveAction::kWrite},     {"mkdir", ArchiveAction::kMakeDirectory}, {"remove", ArchiveAction::kRemove}, {"rename", ArchiveAction::kRename}};
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
    return json["action"].wrong("stat, list, read, get, put, export, changes, layer, write, mkdir, remove or rename");
  }
  const auto absolute = [](const Json& path) -> Outcome<std::string> {
    std::string text = TRY(path.text());
    return text.starts_with('/') ? Outcome<std::string>(std::move(text)) : path.wrong("an absolute path");
  };
  if (request.action == ArchiveAction::kChanges) {
    request.layers.upper = TRY(absolute(json["upper"]));
    request.layers.lower = TRY(json["lower"].texts());
    request.details = TRY(json["details"].boolean_or(false));
    return request;
  }
  if (request.action == ArchiveAction::kLayer) {
    request.layers.upper = TRY(absolute(json["upper"]));
    request.left_out = TRY(json["leftOut"].texts());
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
  request.creates = TRY(json["create"].boolean_or(false));
  request.replaces = TRY(json["replace"].boolean_or(false));
  request.recursive = TRY(json["recursive"].boolean_or(false));
  if (request.action == ArchiveAction::kWrite) {
    request.size_bytes = TRY(json["sizeBytes"].natural());
  }
  if (request.action == ArchiveAction::kRename) {
    request.to = TRY(absolute(json["to"]));
  }
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
