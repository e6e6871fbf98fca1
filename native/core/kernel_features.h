// What this kernel can do, found out by trying (never by version), with nothing left behind.
#pragma once

#include <string>
#include <vector>

namespace strata {

struct KernelFeature {
  std::string name;
  bool available = false;
  std::string detail;  // why it matters, and what to do where it is missing
};

[[nodiscard]] std::vector<KernelFeature> kernel_features();

}  // namespace strata
