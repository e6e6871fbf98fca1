#include "cgroup_write.h"

#include <fcntl.h>

#include <string_view>

#include "pseudo_file.h"

namespace strata {

namespace {

// The controllers that every container gets were enabled when the cgroup was made; others cost each cgroup something, so only who limits by them has them.
void enable_on_path(const Cgroup& cgroup, const CgroupHierarchy& unified, const std::string& controller) {
  UniqueFd directory(::open(unified.mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest = cgroup.path();
  while (directory && !rest.empty()) {
    (void)write_pseudo_file(directory.get(), "cgroup.subtree_control", "+" + controller);
    rest.remove_prefix(1);
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size());
    directory = UniqueFd(::openat(directory.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  }
}

Status write_one(const Cgroup& cgroup, const LimitWrite& write) {
  const int directory = write.controller.empty() ? cgroup.unified_fd() : cgroup.controller_fd(write.controller);
  if (directory < 0) {
    return fail(ENOTSUP, "set '" + write.file + "'", "this host has no " + write.controller + " controller for containers");
  }
  auto written = write_pseudo_file(directory, write.file, write.value);
  const int unified = cgroup.host().unified();
  if (written || written.error().errno_value != ENOENT || write.controller.empty() || cgroup.host().find(write.controller) != unified) {
    return written;
  }
  enable_on_path(cgroup, cgroup.host().hierarchies()[static_cast<size_t>(unified)], write.controller);
  return write_pseudo_file(directory, write.file, write.value);
}

std::unexpected<Error> explain(Error error, const LimitWrite& write) {
  if (error.hint.empty()) {
    error.hint = error.errno_value == ENOENT ? "the " + (write.controller.empty() ? std::string("cgroup") : write.controller) + " controller of this kernel has no such file"
                                             : "the kernel refused \"" + write.value + "\"";
  }
  return std::unexpected(std::move(error));
}

}  // namespace

Status write_planned_limits(const Cgroup& cgroup, const std::vector<LimitWrite>& writes) {
  std::vector<const LimitWrite*> refused;
  for (const LimitWrite& write : writes) {
    if (auto written = write_one(cgroup, write); !written) {
      if (write.where_it_is && written.error().errno_value == ENOENT) {
        continue;
      }
      if (written.error().errno_value != EINVAL && written.error().errno_value != EBUSY) {
        return explain(std::move(written).error(), write);
      }
      refused.push_back(&write);
    }
  }
  for (const LimitWrite* write : refused) {
    if (auto written = write_one(cgroup, *write); !written) {
      return explain(std::move(written).error(), *write);
    }
  }
  return {};
}

}  // namespace strata
