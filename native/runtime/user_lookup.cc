#include "runtime/user_lookup.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace strata::runtime {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;

std::optional<std::uint32_t> as_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  // 2^32 - 1 means "leave as it is" to setresuid(2): it would keep root.
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || id == 0xffffffff) {
    return std::nullopt;
  }
  return id;
}

// Calls `visit` with the fields of each line until it says true.
template <typename Visit>
bool for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    std::vector<std::string_view> fields;
    while (true) {
      const std::size_t colon = line.find(':');
      fields.push_back(line.substr(0, colon));
      if (colon == std::string_view::npos) {
        break;
      }
      line = line.substr(colon + 1);
    }
    if (visit(fields)) {
      return true;
    }
  }
  return false;
}

struct PasswdEntry {
  std::string name, home;
  uid_t uid = 0;
  gid_t gid = 0;
};

// By name first, then by number: as a name may be all digits.
std::optional<PasswdEntry> find_passwd(std::string_view passwd, std::string_view user) {
  std::optional<PasswdEntry> found;
  const auto match = [&](auto predicate) {
    return for_each_line(passwd, [&](const std::vector<std::string_view>& fields) {
      if (fields.size() < 6) {
        return false;
      }
      const auto uid = as_id(fields[2]);
      const auto gid = as_id(fields[3]);
      if (!uid || !gid || !predicate(fields[0], *uid)) {
        return false;
      }
      found = PasswdEntry{std::string(fields[0]), std::string(fields[5]), *uid, *gid};
      return true;
    });
  };
  const auto number = as_id(user);
  if (!match([&](std::string_view name, uid_t) { return name == user; }) && number) {
    match([&](std::string_view, uid_t uid) { return uid == *number; });
  }
  return found;
}

std::optional<gid_t> find_group(std::string_view group, std::string_view wanted) {
  std::optional<gid_t> found;
  for_each_line(group, [&](const std::vector<std::string_view>& fields) {
    if (fields.size() < 3 || fields[0] != wanted) {
      return false;
    }
    found = as_id(fields[2]);
    return found.has_value();
  });
  return found ? found : as_id(wanted);
}

void add_groups_of(std::string_view group, const std::string& user, std::vector<gid_t>& groups) {
  for_each_line(group, [&](const std::vector<std::string_view>& fields) {
    if (fields.size() < 4) {
      return false;
    }
    std::string_view members = fields[3];
    while (!members.empty()) {
      const std::size_t comma = members.find(',');
      if (members.substr(0, comma) == user) {
        if (const auto gid = as_id(fields[2])) {
          groups.push_back(*gid);
        }
        break;
      }
      members = comma == std::string_view::npos ? std::string_view() : members.substr(comma + 1);
    }
    return false;
  });
}

Outcome<std::string> read_small_file(Sys& sys, const std::string& path) {
  auto file = sys.open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, kResolveInRoot);
  if (!file) {
    const int reason = file.error().errno_value;
    if (reason == ENOENT || reason == ENOTDIR) {
      return std::string();
    }
    return std::unexpected(Failure(ErrorCode::kUserNotFound, std::move(file).error(), path));
  }
  const struct stat status = TRY(sys.stat_fd(file->get()));
  if (!S_ISREG(status.st_mode)) {
    return refuse(ErrorCode::kUserNotFound, "the container's '" + path + "' is no regular file");
  }
  std::string text(std::min(static_cast<std::size_t>(status.st_size), kMaxFile), '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t count = ::read(file->get(), text.data() + filled, text.size() - filled);
    if (count <= 0) {
      break;
    }
    filled += static_cast<std::size_t>(count);
  }
  text.resize(filled);
  return text;
}

}  // namespace

Outcome<UserIdentity> resolve_user(const OciProcess& process, std::string_view passwd, std::string_view group) {
  UserIdentity identity;
  std::optional<PasswdEntry> entry;
  if (process.username.empty()) {
    identity.uid = process.uid;
    identity.gid = process.gid;
    entry = find_passwd(passwd, std::to_string(process.uid));
  } else {
    const std::size_t colon = process.username.find(':');
    const std::string user = process.username.substr(0, colon);
    entry = find_passwd(passwd, user);
    const auto number = as_id(user);
    if (!entry && !number) {
      return refuse(ErrorCode::kUserNotFound, "the container has no user '" + user + "'", 0, "its /etc/passwd does not name one: use a name from there, or a number");
    }
    identity.uid = entry ? entry->uid : *number;
    identity.gid = entry ? entry->gid : 0;
    if (colon != std::string::npos) {
      const std::string name = process.username.substr(colon + 1);
      const auto gid = find_group(group, name);
      if (!gid) {
        return refuse(ErrorCode::kUserNotFound, "the container has no group '" + name + "'", 0, "its /etc/group does not name one: use a name from there, or a number");
      }
      identity.gid = *gid;
    } else if (entry) {
      // As Docker: a group that is asked for by name replaces the user's own ones.
      add_groups_of(group, entry->name, identity.groups);
    }
  }
  if (entry && !entry->home.empty()) {
    identity.home = entry->home;
  }
  identity.groups.insert(identity.groups.end(), process.additional_gids.begin(), process.additional_gids.end());
  std::sort(identity.groups.begin(), identity.groups.end());
  identity.groups.erase(std::unique(identity.groups.begin(), identity.groups.end()), identity.groups.end());
  return identity;
}

Outcome<UserIdentity> look_up_user(Sys& sys, const OciProcess& process) {
  const std::string passwd = TRY(read_small_file(sys, "/etc/passwd"));
  const std::string group = process.username.empty() ? std::string() : TRY(read_small_file(sys, "/etc/group"));
  return resolve_user(process, passwd, group);
}

}  // namespace strata::runtime
