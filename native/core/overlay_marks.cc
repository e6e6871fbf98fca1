#include "overlay_marks.h"

#include <sys/xattr.h>

#include "layer_tree.h"

namespace strata {

namespace {

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

std::string node_attribute(int node, const char* name) {
  std::string value(256, '\0');
  const ssize_t got = ::getxattr(proc_path(node).c_str(), name, value.data(), value.size());
  value.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return value;
}

bool has_node_attribute(int node, const char* name) { return ::getxattr(proc_path(node).c_str(), name, nullptr, 0) >= 0; }

bool is_hiding(int node, const struct stat& status) {
  return is_whiteout(status) || (S_ISREG(status.st_mode) && status.st_size == 0 && has_node_attribute(node, "trusted.overlay.whiteout"));
}

bool is_opaque(int node) { return node_attribute(node, "trusted.overlay.opaque") == "y"; }

}  // namespace strata
