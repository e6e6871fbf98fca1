// A bundle: a directory with a config.json, read and checked before anything is made.
#pragma once

#include <memory>
#include <string>

#include "runtime/json.h"
#include "runtime/oci/log.h"
#include "runtime/oci_config.h"
#include "runtime/seccomp.h"

namespace strata::runtime::oci {

struct Bundle {
  std::string path, text;
  std::unique_ptr<JsonDocument> document;
  OciConfig config;
  SeccompExtras seccomp;  // of linux.seccomp, where the config has one

  [[nodiscard]] bool has_seccomp() const;
  // The spec's annotations as a JSON object.
  [[nodiscard]] std::string annotations() const;
};

// runtime-spec, "Linux Process": a name that the kernel has no capability for is told and left out.
void warn_of_unknown_capabilities(Log& log, const OciProcess& process);

// Absolute; `path` empty: the working directory.
Outcome<Bundle> read_bundle(const std::string& path);
// The config that a container was made with.
Outcome<Bundle> read_config_of(const std::string& text, const std::string& bundle_path);

}  // namespace strata::runtime::oci
