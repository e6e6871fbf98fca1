#include "layers_below.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "overlay_marks.h"
#include "sys.h"

namespace strata {

namespace {

// Of a path that the kernel is given at once (PATH_MAX).
constexpr size_t kMostPath = 4000;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<UniqueFd> open_directory(int root, std::string_view path) {
  constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd current;
  while (path.size() > kMostPath) {
    const size_t slash = path.rfind('/', kMostPath);
    current = TRY(real_sys().open_at(current ? current.get() : root, std::string(path.substr(0, slash)), O_PATH | O_DIRECTORY, 0, kBeneath));
    path.remove_prefix(slash + 1);
  }
  return real_sys().open_at(current ? current.get() : root, path.empty() ? "." : std::string(path), O_RDONLY | O_DIRECTORY, 0, kBeneath);
}

std::string joined(const std::string& directory, const char* name) { return directory.empty() ? name : directory + "/" + name; }

}  // namespace

Status LayersBelow::open(const std::vector<std::string>& layers) {
  for (const std::string& path : layers) {
    layers_.push_back(TRY(real_sys().open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, 0)));
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    root_.push_back(layer);
    if (is_opaque(layers_[layer].get())) {
      break;
    }
  }
  opened_.resize(layers_.size());
  return {};
}

Result<int> LayersBelow::directory_of(size_t layer, const std::string& directory) {
  if (directory.empty()) {
    return layers_[layer].get();
  }
  if (directory != present_) {
    present_ = directory;
    for (UniqueFd& opened : opened_) {
      opened.reset();
    }
  }
  if (!opened_[layer]) {
    opened_[layer] = TRY(open_directory(layers_[layer].get(), directory));
  }
  return opened_[layer].get();
}

Result<Below> LayersBelow::look(const std::vector<size_t>& layers, const std::string& directory, const char* name) {
  Below below;
  for (const size_t layer : layers) {
    const int parent = TRY(directory_of(layer, directory));
    struct stat status;
    if (::fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) {
        continue;
      }
      return fail_errno("stat '" + joined(directory, name) + "'");
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (below.exists && !is_directory) {
      break;
    }
    // What its attributes say is asked only of what can have such ones.
    const bool is_asked = is_directory || S_ISCHR(status.st_mode) || (S_ISREG(status.st_mode) && status.st_size == 0);
    UniqueFd node;
    if (is_asked) {
      node.reset(::openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!node) {
        return fail_errno("open '" + joined(directory, name) + "'");
      }
      if (is_hiding(node.get(), status)) {
        break;
      }
    }
    if (!below.exists) {
      below.exists = true;
      below.layer = layer;
      below.status = status;
    }
    if (!is_directory) {
      break;
    }
    below.directories.push_back(layer);
    if (is_opaque(node.get())) {
      break;
    }
  }
  return below;
}

Result<Below> LayersBelow::find(const std::string& path) {
  Below below{.exists = true, .directories = root_};
  std::string directory;
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty()) {
      continue;
    }
    if (name == "." || name == "..") {
      return Below{};
    }
    below = TRY(look(below.directories, directory, name.c_str()));
    directory = joined(directory, name.c_str());
  }
  return directory.empty() ? Below{} : below;
}

Result<UniqueFd> LayersBelow::open_found(const Below& below, const std::string& directory, const char* name) {
  UniqueFd node(::openat(TRY(directory_of(below.layer, directory)), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!node) {
    return fail_errno("open '" + joined(directory, name) + "'");
  }
  return node;
}

Result<std::set<std::string>> LayersBelow::names(const std::vector<size_t>& layers, const std::string& directory, size_t most) {
  std::set<std::string> names;
  for (const size_t layer : layers) {
    UniqueFd opened = TRY(open_directory(layers_[layer].get(), directory));
    const std::unique_ptr<DIR, DirectoryCloser> stream(::fdopendir(opened.get()));
    if (stream == nullptr) {
      return fail_errno("read '" + directory + "'");
    }
    static_cast<void>(opened.release());
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") {
        names.emplace(name);
      }
      if (names.size() > most) {
        return fail(E2BIG, "read '" + directory + "'", "a directory of the image has too many names");
      }
    }
  }
  return names;
}

}  // namespace strata
