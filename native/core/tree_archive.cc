#include "tree_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "kernel_files.h"
#include "member_writer.h"
#include "tree.h"
#include "unique_fd.h"

namespace strata {

namespace {

// Of a file that the kernel makes: it is read into memory, for its size comes first.
constexpr size_t kMostGenerated = kMostOfKernelFile;

class TreeArchiver {
 public:
  TreeArchiver(int output, const ArchiveOptions& options) : options_(options), output_(output), writer_(output_, {.changes = true, .cancelled = options.cancelled}) {}

  [[nodiscard]] Result<Archived> archive(int node) {
    struct stat status;
    if (::fstat(node, &status) != 0) {
      return fail_errno("stat '" + options_.name + "'");
    }
    enters_kernel_files_ = is_of_kernel(node);
    if (enters_kernel_files_ && S_ISREG(status.st_mode)) {
      TRY(writer_.write_generated(node, status, options_.name, kMostGenerated));
    } else {
      TRY(add(node, status, options_.name));
    }
    if (S_ISDIR(status.st_mode)) {
      const UniqueFd directory(::openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!directory) {
        return fail_errno("open '" + options_.name + "'");
      }
      const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> { return when == TreeVisit::kAfter || TRY(pack(entry)); };
      TRY(walk_tree(directory.get(), TreeOrder::kAsStored, visit, {.crosses_mounts = true, .changes = true}));
    }
    TRY(writer_.finish());
    archived_.entries = writer_.entries();
    archived_.bytes = writer_.bytes();
    return archived_;
  }

 private:
  [[nodiscard]] Status add(int node, const struct stat& status, const std::string& name) {
    if (TRY(writer_.write(node, status, name)) == MemberWriter::Written::kLeftOut) {
      ++archived_.left_out;
    }
    return {};
  }

  // Many cannot be read, or never end: they are no reason not to copy the others.
  [[nodiscard]] Result<bool> add_generated(int node, const struct stat& status, const std::string& name) {
    const std::uint64_t written = writer_.bytes();
    if (auto done = writer_.write_generated(node, status, name, kMostGenerated); !done) {
      if (writer_.bytes() != written || done.error().errno_value == ECANCELED) {
        return std::unexpected(std::move(done).error());
      }
      ++archived_.left_out;
    }
    return false;
  }

  // Whether what is below it is wanted.
  [[nodiscard]] Result<bool> pack(const TreeEntry& entry) {
    const UniqueFd node(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status;
    if (!node || ::fstat(node.get(), &status) != 0) {
      if (errno == ENOENT) {
        return false;
      }
      return fail_errno("open '" + entry.path + "'");
    }
    if (S_ISREG(status.st_mode) && std::find(options_.emptied.begin(), options_.emptied.end(), entry.path) != options_.emptied.end()) {
      status.st_size = 0;
    }
    const std::string name = (options_.name == "." ? "./" : options_.name + "/") + entry.path;
    if (enters_kernel_files_ && S_ISREG(status.st_mode) && is_of_kernel(node.get())) {
      return TRY(add_generated(node.get(), status, name));
    }
    TRY(add(node.get(), status, name));
    return S_ISDIR(status.st_mode) && (enters_kernel_files_ || !is_of_kernel(node.get()));
  }

  const ArchiveOptions& options_;
  DescriptorSink output_;
  MemberWriter writer_;
  Archived archived_;
  bool enters_kernel_files_ = false;
};

}  // namespace

Result<Archived> archive_tree(int node, int output, const ArchiveOptions& options) { return TreeArchiver(output, options).archive(node); }

}  // namespace strata
