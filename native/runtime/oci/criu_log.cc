#include "runtime/oci/criu_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "core/unique_fd.h"

namespace strata::runtime::oci {
namespace {

constexpr std::size_t kMostLines = 5, kMostBytes = 300;
constexpr off_t kTail = 256 << 10;
constexpr std::string_view kMark = "Error (";

// "(00.012345)     12: Error (criu/files.c:12): Can't …" → "Can't …"
std::string complaint_of(std::string_view line) {
  const std::size_t source_end = line.find("): ", line.find(kMark));
  std::string text(source_end == std::string_view::npos ? line : line.substr(source_end + 3));
  text.resize(std::min(text.size(), kMostBytes));
  std::replace_if(text.begin(), text.end(), [](char byte) { return byte < ' ' || byte > '~'; }, '?');
  return text;
}

}  // namespace

std::string criu_complaints(std::string_view log) {
  std::vector<std::string> found;  // the last first
  while (!log.empty() && found.size() < kMostLines) {
    const std::size_t end = log.rfind('\n');
    const std::string_view line = end == std::string_view::npos ? log : log.substr(end + 1);
    log = log.substr(0, end == std::string_view::npos ? 0 : end);
    if (line.find(kMark) == std::string_view::npos) {
      continue;
    }
    std::string complaint = complaint_of(line);
    if (!complaint.empty() && std::find(found.begin(), found.end(), complaint) == found.end()) {
      found.push_back(std::move(complaint));
    }
  }
  std::string text;
  for (auto complaint = found.rbegin(); complaint != found.rend(); ++complaint) {
    text += (text.empty() ? "" : "; ") + *complaint;
  }
  return text;
}

std::string criu_complaints_in(int directory, const std::string& name) {
  const UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) < 0 || !S_ISREG(status.st_mode)) {
    return {};
  }
  std::string text(static_cast<std::size_t>(std::min(status.st_size, kTail)), '\0');
  const ssize_t got = ::pread(file.get(), text.data(), text.size(), status.st_size - static_cast<off_t>(text.size()));
  return got <= 0 ? std::string() : criu_complaints(std::string_view(text).substr(0, static_cast<std::size_t>(got)));
}

}  // namespace strata::runtime::oci
