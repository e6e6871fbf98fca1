// What the global options say; every command gets one.
#pragma once

#include <string>

#include "runtime/oci/log.h"
#include "runtime/oci/rootless.h"

namespace strata::runtime::oci {

struct Context {
  std::string root;
  bool systemd_cgroup = false;
  Privilege privilege = Privilege::kRoot;
  bool rootless = false;  // does without cgroups where there are none to be had
  std::string criu;       // --criu; empty: what PATH has
  Log log;
  char* const* argv = nullptr;  // for run_from_read_only_mount
};

}  // namespace strata::runtime::oci
