// What the layers of an overlay show together, without a mount: a name is looked up as overlayfs does it (kernel's Documentation/filesystems/overlayfs.rst; whiteouts,
// opaque directories, redirects, metacopy), and links are followed as a process in there would. Nothing that is named leads out of a layer.
#pragma once

#include <sys/stat.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "layer_browse.h"
#include "unique_fd.h"

namespace strata {

class MergedView {
 public:
  // Directories, top first.
  [[nodiscard]] static Result<MergedView> open(const std::vector<std::string>& layers);

  // As list_directory. Links are followed, at the end of `path`, too.
  [[nodiscard]] Result<LayerListing> list(const std::string& path, size_t limit = kMostListed, size_t most_bytes = kMostListingBytes) const;
  [[nodiscard]] Result<LayerEntry> stat(const std::string& path, bool follows) const;
  // As open_layer_file. EIO: the content of a file that overlay copied up without it is in no layer below.
  [[nodiscard]] Result<UniqueFd> open_file(const std::string& path) const;

 private:
  // A directory of one layer.
  struct Part {
    size_t layer;
    std::shared_ptr<const UniqueFd> node;
  };
  using Directory = std::vector<Part>;  // as it is merged, top first

  struct Found {
    std::shared_ptr<const UniqueFd> node;  // the topmost
    struct stat status {};
    Directory parts;                       // of a directory
    std::shared_ptr<const UniqueFd> content;  // of a file, where a layer below has it; null: it has its own
    bool lacks_content = false;
    std::string name;
  };

  // A directory on the way, and the names that lead there without a link.
  struct Place {
    std::vector<std::string> names;
    Directory directory;
  };

  // One name on its way down through the layers: overlay_lookup_data of the kernel.
  struct Search {
    std::string name;  // in the directory, or from the roots of the layers where it begins with "/"
    bool is_directory = false;
    bool is_metacopy = false;
    bool ends = false;  // layers below are not asked any more
  };
  struct Looked {
    UniqueFd node;  // not valid: nothing there
    struct stat status {};
  };

  [[nodiscard]] static Result<Looked> look_in(int base, Search& search);
  [[nodiscard]] static Status follow_redirect(int node, size_t at, size_t end, Search& search);
  [[nodiscard]] Result<Found> look(const Directory& directory, const std::string& name) const;
  // ELOOP where a look would cost more than is left.
  [[nodiscard]] static Status spend(size_t& budget, const Directory& directory, const std::string& name);
  [[nodiscard]] Result<Directory> enter(const std::vector<std::string>& names, size_t& budget) const;
  [[nodiscard]] Result<Found> walk(Place place, std::deque<std::string> names, bool follows, size_t& budget, Place* end = nullptr) const;
  [[nodiscard]] Result<Found> resolve(const std::string& path, bool follows, Place* end = nullptr) const;
  [[nodiscard]] Result<Found> found_directory(Place place) const;

  Directory root_;
};

}  // namespace strata
