#include "runtime/oci/bundle.h"

#include <fcntl.h>

#include "runtime/oci/files.h"

namespace strata::runtime::oci {

bool Bundle::has_seccomp() const {
  const Json root = document->root();
  const Json linux_part = root["linux"];
  return !linux_part["seccomp"].absent();
}

std::string Bundle::annotations() const {
  const Json root = document->root();
  const std::string given = root["annotations"].to_text();
  return given.empty() ? "{}" : given;
}

void warn_of_unknown_capabilities(Log& log, const OciProcess& process) {
  std::string names;
  for (const std::string& name : process.unknown_capabilities) {
    names += (names.empty() ? "" : ", ") + name;
  }
  if (!names.empty()) {
    log.warning("unknown capabilities are ignored: " + names);
  }
}

Outcome<Bundle> read_config_of(const std::string& text, const std::string& bundle_path) {
  Bundle bundle;
  bundle.path = bundle_path;
  bundle.text = text;
  bundle.document = std::make_unique<JsonDocument>(TRY(JsonDocument::parse(bundle.text)));
  const Json root = bundle.document->root();
  bundle.config = TRY(read_config(root, bundle_path));
  // The spec's user.username is for Windows: the numbers count.
  bundle.config.process.username.clear();
  if (bundle.has_seccomp()) {
    bundle.seccomp = TRY(read_seccomp_extras(root["linux"]["seccomp"]));
  }
  return bundle;
}

Outcome<Bundle> read_bundle(const std::string& path) {
  const std::string folder = TRY(real_path(path.empty() ? "." : path));
  auto text = read_whole_file(AT_FDCWD, folder + "/config.json");
  if (!text && text.error().error.errno_value == ENOENT) {
    text.error().error.hint = "a bundle is a directory with a config.json; `strata-runtime spec` writes one";
  }
  const std::string config_text = TRY(std::move(text));
  Bundle bundle = TRY(read_config_of(config_text, folder));
  OciConfig& config = bundle.config;
  if (config.root_path.empty()) {
    return refuse(ErrorCode::kInvalidRequest, "root.path is missing: it must be the directory of the container's root file system");
  }
  config.root_path = TRY(real_path(config.root_path));
  if (config.root_path == "/") {
    return refuse(ErrorCode::kInvalidRequest, "root.path must not be the host's root");
  }
  return bundle;
}

}  // namespace strata::runtime::oci
