// What the layers below an upper directory show under one path, as overlay merges them. Read only; they do not change meanwhile.
#pragma once

#include <sys/stat.h>

#include <set>
#include <string>
#include <vector>

#include "error.h"
#include "unique_fd.h"

namespace strata {

// What is there.
struct Below {
  bool exists = false;
  size_t layer = 0;  // the topmost that has it
  struct stat status = {};
  std::vector<size_t> directories = {};  // the layers that it is merged of, where it is a directory
};

// Looks are made in one directory after the other: the descriptors of the last one are kept, one for each layer, however deep it is.
class LayersBelow {
 public:
  [[nodiscard]] Status open(const std::vector<std::string>& layers);
  // Those that the root is merged of.
  [[nodiscard]] const std::vector<size_t>& root() const { return root_; }

  // `layers`: those that have `directory` ("a/b", "" the root).
  [[nodiscard]] Result<Below> look(const std::vector<size_t>& layers, const std::string& directory, const char* name);
  // From the root down, for a path that a redirect names.
  [[nodiscard]] Result<Below> find(const std::string& path);
  // O_PATH, of what the last look found under that name.
  [[nodiscard]] Result<UniqueFd> open_found(const Below& below, const std::string& directory, const char* name);
  // Each name that they have in this directory; those that are hidden, too.
  [[nodiscard]] Result<std::set<std::string>> names(const std::vector<size_t>& layers, const std::string& directory, size_t most);

 private:
  [[nodiscard]] Result<int> directory_of(size_t layer, const std::string& directory);

  std::vector<UniqueFd> layers_;
  std::vector<size_t> root_;
  std::string present_;            // the directory that `opened_` are of
  std::vector<UniqueFd> opened_;  // by layer; not valid: not opened yet
};

}  // namespace strata
