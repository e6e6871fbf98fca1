#include "runtime/environment.h"

#include <unistd.h>

#include <algorithm>
#include <unordered_set>

namespace strata::runtime {
namespace {

constexpr char kDefaultPath[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

std::string value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

std::vector<std::string> complete_environment(const std::vector<std::string>& given, const std::string& home) {
  std::vector<std::string> environment;
  std::unordered_set<std::string_view> seen;
  for (auto entry = given.rbegin(); entry != given.rend(); ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, entry->find('='));
    if (seen.insert(name).second && *entry != "PATH=" && *entry != "HOME=") {
      environment.push_back(*entry);
    }
  }
  std::reverse(environment.begin(), environment.end());
  if (value_of(environment, "PATH").empty()) {
    environment.emplace_back(kDefaultPath);
  }
  if (value_of(environment, "HOME").empty()) {
    environment.push_back("HOME=" + home);
  }
  return environment;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> environment;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  return environment;
}

}  // namespace strata::runtime
