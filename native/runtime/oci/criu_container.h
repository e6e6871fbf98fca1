// What a checkpoint and a restore have to say alike about a container: which of it lies outside, and under which names.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "runtime/mount_plan.h"
#include "runtime/oci/criu_rpc.h"
#include "runtime/oci/log.h"
#include "runtime/oci/options.h"

namespace strata::runtime::oci {

// Of both commands.
struct CriuSettings {
  std::string program;                 // --criu
  std::string image_path = "checkpoint", work_path;
  CriuOptions options;
};
const std::vector<Option>& criu_options();
Outcome<CriuSettings> criu_settings(const Options& options, const std::string& program);

// The directory of images, made where it is missing and `make`, and the one of logs.
struct CriuDirectories {
  UniqueFd images, work;
  std::string log_place;  // for people
  [[nodiscard]] int logs() const { return work ? work.get() : images.get(); }
};
Outcome<CriuDirectories> open_directories(const CriuSettings& settings, bool make);

// Paths of mounts whose source is the host's, as the config names them.
std::vector<std::string> external_mounts(const MountPlan& plan);
// "extRootNetNS": the name of a namespace that a checkpoint leaves out.
std::string external_namespace_key(const std::string& kind);
// Of the annotation org.criu.config, else the one of the known runtime; criu takes none where it is not there.
std::string criu_config_file(const OciConfig& config);
// What criu cannot put back: refused before anything is done.
Done check_restorable(const OciConfig& config);

// The names of the pipes at 0, 1 and 2 of this process ("pipe:[12]"; empty: something else): their other ends are outside, and a restore has new ones.
std::array<std::string, 3> stream_names();
// A JSON array, as the known runtimes leave it beside the images.
std::string encode_streams(const std::array<std::string, 3>& names);
// Whatever is no pipe's name is taken for none.
std::array<std::string, 3> decode_streams(const Json& json);
inline constexpr char kStreamsFile[] = "descriptors.json";

// Puts what criu's log says into a failure.
Failure with_log(Failure failure, const CriuDirectories& directories, const std::string& log_file, const std::string& what);

}  // namespace strata::runtime::oci
