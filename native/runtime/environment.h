// Environments: of the container's processes, and the runtime's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strata::runtime {

// Empty where there is no such variable.
std::string value_of(const std::vector<std::string>& environment, std::string_view name);

// "NAME=value" of `given`; of several with one name the last, as runc and shells have it. PATH is the usual one and HOME is `home` where they are missing or empty.
std::vector<std::string> complete_environment(const std::vector<std::string>& given, const std::string& home);

// What this process was started with.
std::vector<std::string> own_environment();

}  // namespace strata::runtime
