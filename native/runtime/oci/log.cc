#include "runtime/oci/log.h"

#include <fcntl.h>

#include <cstdio>

#include "runtime/clock.h"
#include "runtime/json.h"

namespace strata::runtime::oci {

std::string sentence_of(const Failure& failure) {
  const auto document = JsonDocument::parse(to_json(failure));
  if (!document) {
    return failure.error.message();
  }
  const Json root = document->root();
  std::string text = root["message"].text_or("").value_or("");
  // Engines look for "permission denied" and "no such file or directory" as Go writes them, to tell the exit statuses 126 and 127 apart.
  const std::string reason = std::strerror(static_cast<int>(root["errno"].optional_integer(0, 4095).value_or(std::nullopt).value_or(0)));
  if (text.ends_with(reason) && !reason.empty()) {
    text[text.size() - reason.size()] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason.front())));
  }
  const std::string hint = root["hint"].text_or("").value_or("");
  return text + (hint.empty() ? "" : " (" + hint + ")");
}

void Log::open(const std::string& path, bool json, bool debug) {
  json_ = json;
  debug_ = debug;
  if (!path.empty()) {
    file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file_) {
      std::fprintf(stderr, "strata-runtime: cannot open the log '%s': %s\n", path.c_str(), std::strerror(errno));
    }
  }
}

void Log::write(const char* level, const std::string& message) {
  if (!file_) {
    return;
  }
  const std::string time = rfc3339(nanoseconds_now());
  std::string line;
  if (json_) {
    JsonWriter json;
    json.begin_object();
    json.field("level", level);
    json.field("msg", message);
    json.field("time", time);
    json.end_object();
    line = json.take();
  } else {
    line = "time=\"" + time + "\" level=" + level + " msg=\"" + message + "\"";
  }
  line += '\n';
  best_effort(::write(file_.get(), line.data(), line.size()));
}

void Log::error(const std::string& message) {
  write("error", message);
  std::fprintf(stderr, "strata-runtime: %s\n", message.c_str());
}

void Log::warning(const std::string& message) {
  write("warning", message);
  if (!file_) {
    std::fprintf(stderr, "strata-runtime: warning: %s\n", message.c_str());
  }
}

void Log::debug(const std::string& message) {
  if (debug_) {
    write("debug", message);
    if (!file_) {
      std::fprintf(stderr, "strata-runtime: %s\n", message.c_str());
    }
  }
}

}  // namespace strata::runtime::oci
