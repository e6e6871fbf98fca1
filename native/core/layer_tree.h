// The directory that a layer is unpacked into: nothing that an archive names leads out of it.
#pragma once

#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "unique_fd.h"

namespace strata {

inline bool is_whiteout(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == 0; }

// EXDEV: the archive is not unpacked, since this name could lead somewhere else.
[[nodiscard]] std::unexpected<Error> unsafe_name(const std::string& name, const std::string& why);

// "./a//b/" and "/a/b" become "a/b"; the root itself is "".
[[nodiscard]] Result<std::string> path_in_layer(const std::string& name);

class LayerTree {
 public:
  // `root` stays the caller's. `whiteouts`: a 0:0 device in the way of a directory is one, else it is an error.
  LayerTree(int root, bool whiteouts) : root_(root), whiteouts_(whiteouts) {}

  [[nodiscard]] int root() const { return root_; }
  // Opens a directory; symbolic links are followed as if the root were "/".
  [[nodiscard]] UniqueFd open(const std::string& path, int flags) const;
  // The directory that holds `path`, made where it is missing. The last one is kept: archives list a directory's members together.
  [[nodiscard]] Result<int> parent_of(const std::string& path, std::string& name);
  // The directories that parent_of() has made since the last call, each before those in it.
  [[nodiscard]] std::vector<std::string> take_implied() { return std::exchange(implied_, {}); }
  // Whether a whiteout of this layer stands for the directory or for one above it.
  [[nodiscard]] bool is_hidden(const std::string& path) const;
  // Removes what has that name, with all below it.
  [[nodiscard]] Status replace(int parent, const std::string& name);

 private:
  [[nodiscard]] Result<UniqueFd> make_directories(const std::string& path);

  int root_;
  bool whiteouts_;
  std::string parent_path_;
  std::vector<std::string> implied_;
  UniqueFd parent_;  // of parent_path_; not valid: none kept
};

}  // namespace strata
