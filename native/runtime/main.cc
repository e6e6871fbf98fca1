// strata-runtime: dispatch only. docs/supervisor.md is the contract of `supervise`, docs/runtime.md of the OCI command line.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/archive.h"
#include "runtime/arguments.h"
#include "runtime/features.h"
#include "runtime/init_program.h"
#include "runtime/oci/front_door.h"
#include "runtime/own_binary.h"
#include "runtime/seccomp.h"
#include "runtime/supervise.h"
#include "runtime/trace.h"

namespace {

using strata::runtime::Failure;

constexpr char kUsage[] =
    "usage: strata-runtime supervise --id ID --run-dir DIR --cgroup-path PATH [--namespaces LIST] [--uid-map C:H:N]... [--gid-map C:H:N]... [--wire N] [--trace FILE]\n"
    "       strata-runtime compile-seccomp --output FILE   (an OCI linux.seccomp object on stdin)\n"
    "       strata-runtime archive                         (what the helper asks for on descriptor 3)\n"
    "       strata-runtime probe\n";

int report(const Failure& failure) {
  std::fprintf(stderr, "%s\n", strata::runtime::to_json(failure).c_str());
  return 1;
}

int compile(const std::vector<std::string>& arguments) {
  if (arguments.size() != 2 || arguments[0] != "--output") {
    std::fputs(kUsage, stderr);
    return 2;
  }
  std::string profile;
  std::array<char, 65536> buffer{};
  for (ssize_t count = 0; (count = ::read(0, buffer.data(), buffer.size())) > 0;) {
    profile.append(buffer.data(), static_cast<std::size_t>(count));
  }
  const auto done = strata::runtime::compile_seccomp_file(profile, arguments[1]);
  return done ? 0 : report(done.error());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 0 && std::strcmp(argv[0], strata::runtime::kInitProgramName) == 0) {
    return strata::runtime::run_init_program(argc, argv);
  }
  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> arguments(argv + (argc > 1 ? 2 : argc), argv + argc);
  const std::vector<std::string> all(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (strata::runtime::oci::is_oci_command(all)) {
    return strata::runtime::oci::run_oci_command(all, argv);
  }
  if (command == "supervise") {
    const auto params = strata::runtime::parse_supervise(arguments);
    if (params) {
      if (auto traced = strata::runtime::trace::open(params->trace); !traced) {
        return report(traced.error());
      }
      strata::runtime::trace::mark("begin");
      if (auto done = strata::runtime::run_from_read_only_mount(argv); !done) {
        return report(done.error());
      }
    }
    return params ? strata::runtime::supervise(*params) : report(params.error());
  }
  if (command == "compile-seccomp") {
    return compile(arguments);
  }
  if (command == "archive" && arguments.empty()) {
    return strata::runtime::archive();
  }
  if (command == "probe") {
    std::puts(strata::runtime::features_json().c_str());
    return 0;
  }
  std::fputs(kUsage, stderr);
  return 2;
}
