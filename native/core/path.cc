#include "core/path.h"

#include <fcntl.h>

namespace strata {

SplitPath split_path(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) {
    return {"/", ""};
  }
  const std::size_t slash = path.rfind('/', end);
  if (slash == std::string::npos) {
    return {"/", path.substr(0, end + 1)};
  }
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1, end - slash)};
}

Result<UniqueFd> open_below(Sys& sys, int root, const std::string& path) { return sys.open_at(root, path, O_PATH, 0, kResolveInRoot); }

Result<UniqueFd> open_or_make_directory(Sys& sys, int root, const std::string& path) {
  auto found = sys.open_at(root, path, O_PATH | O_DIRECTORY, 0, kResolveInRoot);
  if (found || found.error().errno_value != ENOENT) {
    return found;
  }
  const SplitPath split = split_path(path);
  if (split.name.empty()) {
    return found;
  }
  const UniqueFd parent = TRY(open_or_make_directory(sys, root, split.parent));
  // A dangling link at the name: mkdirat says EEXIST and the open below ENOENT again; nothing is made where it points to.
  if (auto made = sys.make_directory(parent.get(), split.name, 0755); !made && made.error().errno_value != EEXIST) {
    return std::unexpected(std::move(made).error());
  }
  return sys.open_at(parent.get(), split.name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, kResolveInRoot);
}

Result<UniqueFd> open_or_make_file(Sys& sys, int root, const std::string& path) {
  auto found = open_below(sys, root, path);
  if (found || found.error().errno_value != ENOENT) {
    return found;
  }
  const SplitPath split = split_path(path);
  const UniqueFd parent = TRY(open_or_make_directory(sys, root, split.parent));
  {
    // O_EXCL: nothing that is there is opened, be it a fifo or a device.
    auto made = sys.open_at(parent.get(), split.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, kResolveInRoot);
    if (!made && made.error().errno_value != EEXIST) {
      return made;
    }
  }
  return sys.open_at(parent.get(), split.name, O_PATH | O_NOFOLLOW, 0, kResolveInRoot);
}

}  // namespace strata
