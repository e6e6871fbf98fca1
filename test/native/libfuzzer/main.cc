// libFuzzer over one of the targets: STRATA_FUZZ_TARGET names it. `-runs=0 DIRECTORY` replays a corpus, STRATA_FUZZ_SEEDS=DIRECTORY writes the first one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../fuzz_targets.h"

namespace {

const strata::test::FuzzTarget* wanted() {
  const char* const name = std::getenv("STRATA_FUZZ_TARGET");
  for (const strata::test::FuzzTarget& target : strata::test::fuzz_targets()) {
    if (name != nullptr && std::strcmp(target.name, name) == 0) {
      return &target;
    }
  }
  std::fputs("STRATA_FUZZ_TARGET must be one of:", stderr);
  for (const strata::test::FuzzTarget& target : strata::test::fuzz_targets()) {
    std::fprintf(stderr, " %s", target.name);
  }
  std::fputs("\n", stderr);
  std::exit(2);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* const directory = std::getenv("STRATA_FUZZ_SEEDS")) {
    int number = 0;
    for (const std::string& seed : wanted()->seeds()) {
      const std::string path = std::string(directory) + "/seed-" + std::to_string(number++);
      if (std::FILE* const file = std::fopen(path.c_str(), "w")) {
        std::fwrite(seed.data(), 1, seed.size(), file);
        std::fclose(file);
      }
    }
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const strata::test::FuzzTarget* const target = wanted();
  static_cast<void>(target->run({reinterpret_cast<const char*>(data), size}));
  return 0;
}
