// What takes bytes from a person, an image, a container or another process, each as one function over bytes: for the mutations of fuzz_test.cc, and for libFuzzer
// (CMake: STRATA_FUZZ).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::test {

struct FuzzTarget {
  const char* name;
  bool (*run)(std::string_view input);  // whether it was a good one
  std::vector<std::string> (*seeds)();
  enum class Form { kJson, kBlocks, kText } form;
  int iterations;  // of a test run
};

std::span<const FuzzTarget> fuzz_targets();

}  // namespace strata::test
