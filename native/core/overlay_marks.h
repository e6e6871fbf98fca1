// What overlay's own marks on a node of a layer say (Documentation/filesystems/overlayfs, "whiteouts and opaque directories").
#pragma once

#include <sys/stat.h>

#include <string>

namespace strata {

// `node`: an O_PATH descriptor or any other. Empty where it has no such attribute, or a value of more than 256 bytes.
[[nodiscard]] std::string node_attribute(int node, const char* name);
[[nodiscard]] bool has_node_attribute(int node, const char* name);

// Whether it is a whiteout, in either form.
[[nodiscard]] bool is_hiding(int node, const struct stat& status);

// The whole directory below is hidden. "x" says no more than that whiteouts in it may have the form of an attribute.
[[nodiscard]] bool is_opaque(int node);

}  // namespace strata
