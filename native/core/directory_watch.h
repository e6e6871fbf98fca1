// Tells that something below a directory has changed, without looking: by fanotify(7) on its file system, whose events carry the directory that they happened in.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <unordered_map>

#include "error.h"
#include "unique_fd.h"

namespace strata {

// Invariants: from open() on nothing that changes below the directory is missed; it tells of the first change alone, and is thrown away then, so that who writes a
// lot pays for one event. What happens elsewhere on the file system costs a look into a table; more of it than the kernel queues is told as a change.
class DirectoryWatch {
 public:
  // Needs CAP_SYS_ADMIN. EOPNOTSUPP, EXDEV, ENOSYS: this kernel or file system cannot say where something changed.
  [[nodiscard]] static Result<DirectoryWatch> open(const std::string& path);

  // True: something has changed. False: cancel() was called.
  [[nodiscard]] Result<bool> wait();
  // From any thread; wait() returns soon, now or later.
  void cancel() const;

 private:
  DirectoryWatch(std::string path, UniqueFd root, UniqueFd group, UniqueFd cancelled)
      : path_(std::move(path)), root_(std::move(root)), group_(std::move(group)), cancelled_(std::move(cancelled)) {}

  [[nodiscard]] bool concerns(std::span<const char> events);
  [[nodiscard]] bool is_below(const char* handle, size_t size);

  std::string path_;  // as the kernel names it
  UniqueFd root_;
  UniqueFd group_;
  UniqueFd cancelled_;
  std::unordered_map<std::string, bool> known_;  // directories by their handles
};

}  // namespace strata
