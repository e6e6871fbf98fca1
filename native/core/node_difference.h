// In what two nodes of an overlay's layers differ, where one stands in the place of the other.
#pragma once

#include <sys/stat.h>

#include <atomic>

#include "error.h"

namespace strata {

struct NodeDifferences {
  bool type = false;     // file, directory, link, ...; nothing else is compared then
  bool content = false;  // bytes of a file, target of a link, number of a device
  bool mode = false;     // permission bits
  bool owner = false;
  bool attributes = false;  // extended ones, but for overlay's own and labels of the host
  bool mtime = false;

  [[nodiscard]] bool any() const { return type || content || mode || owner || attributes || mtime; }
};

struct NodeView {
  int node;  // O_PATH, borrowed
  const struct stat& status;
};

// Of a directory neither content nor time: both change with what is in it. A file whose content overlay left below (metacopy) has that content.
// Files of one size are read until they differ, their holes left out. Errors: ECANCELED, and what reading says.
[[nodiscard]] Result<NodeDifferences> node_differences(const NodeView& upper, const NodeView& lower, const std::atomic<bool>* cancelled);

}  // namespace strata
