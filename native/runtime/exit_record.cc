#include "runtime/exit_record.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/path.h"
#include "runtime/clock.h"
#include "runtime/json.h"

namespace strata::runtime {

void ExitRecord::set_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    signal = WTERMSIG(wait_status);
  } else {
    code = WEXITSTATUS(wait_status);
  }
}

std::string ExitRecord::to_json() const {
  JsonWriter json;
  const auto number = [&](const char* name, const auto& value) {
    if (value) {
      json.field(name, *value);
    } else {
      json.null_field(name);
    }
  };
  json.begin_object();
  json.field("formatVersion", 1);
  json.field("id", id);
  number("code", code);
  number("signal", signal);
  json.field("oomKilled", oom_kills > 0);
  json.field("oomKills", oom_kills);
  number("memoryPeakBytes", memory_peak_bytes);
  json.field("startedAt", rfc3339(started_at != 0 ? started_at : finished_at));
  json.field("finishedAt", rfc3339(finished_at));
  if (tells_requests && requested) {
    json.begin_object("requested");
    json.field("signal", requested->number);
    json.field("at", rfc3339(requested->at));
    json.field("note", requested->note);
    json.end_object();
  } else if (tells_requests) {
    json.null_field("requested");
  }
  if (!error_json.empty()) {
    json.raw_field("error", error_json);
  }
  if (lost_log_bytes != 0) {
    json.field("lostLogBytes", lost_log_bytes);
  }
  json.end_object();
  return json.take();
}

Done replace_file(const std::string& path, const std::string& text, bool durable) {
  const SplitPath split = split_path(path);
  const UniqueFd directory(::open(split.parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string temporary = "." + split.name + ".tmp";
  const UniqueFd file(directory ? ::openat(directory.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1);
  const bool written = file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) && (!durable || ::fsync(file.get()) == 0) &&
                       ::renameat(directory.get(), temporary.c_str(), directory.get(), split.name.c_str()) == 0 && (!durable || ::fsync(directory.get()) == 0);
  if (!written) {
    auto failure = refuse_errno(errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kInternal, "write '" + path + "'", "", path);
    if (file) {
      ::unlinkat(directory.get(), temporary.c_str(), 0);
    }
    return failure;
  }
  return {};
}

}  // namespace strata::runtime
