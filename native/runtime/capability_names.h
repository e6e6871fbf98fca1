// capabilities(7) by name.
#pragma once

#include <string>
#include <string_view>

namespace strata::runtime {

inline constexpr int kLastCapability = 40;

// "CAP_NET_RAW" → 13; -1 for a name that this runtime does not know.
int capability_number(std::string_view name);
// 13 → "CAP_NET_RAW".
std::string capability_name(int number);

}  // namespace strata::runtime
