// A Sys that records every call and can fail at a chosen one; descriptors are real ones (of /dev/null), so that a leak shows in /proc/self/fd.
#pragma once

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/sys.h"

namespace strata::test {

class FakeSys final : public Sys {
 public:
  std::vector<std::string> calls;
  int fail_at = -1;  // index of the call that fails
  int fail_with = EIO;
  std::map<std::string, int> refused;          // a call as recorded → the errno it always fails with
  std::set<std::string> absent;                // paths that openat2 does not find, until they are made
  std::map<std::string, long> file_systems;    // where not procfs below /proc and tmpfs elsewhere
  std::map<std::string, mode_t> kinds;         // what a path is, for stat; a directory else

  Result<UniqueFd> open_at(int dir, const std::string& path, int flags, mode_t, std::uint64_t resolve) override {
    const std::string full = below(dir, path);
    TRY(record("open " + full + ((resolve & kResolveInRoot) == kResolveInRoot ? " in-root" : "") + ((resolve & kNoSymlinks) != 0 ? " no-symlinks" : "")));
    if (absent.contains(full)) {
      if ((flags & O_CREAT) == 0) {
        return fail(ENOENT, "open '" + full + "'");
      }
      absent.erase(full);
      kinds[full] = S_IFREG;
    }
    return descriptor(full);
  }
  Result<struct stat> stat_fd(int fd) override {
    struct stat status {};
    const auto kind = kinds.find(names_[fd]);
    status.st_rdev = names_[fd].ends_with("/dev/null") ? makedev(1, 3) : 0;
    status.st_mode = (kind == kinds.end() ? mode_t{S_IFDIR} : kind->second) | 0755U;
    return status;
  }
  Result<long> file_system_of(int fd) override {
    const auto known = file_systems.find(names_[fd]);
    return known != file_systems.end() ? known->second : names_[fd].starts_with("/proc") ? PROC_SUPER_MAGIC : TMPFS_MAGIC;
  }
  Status make_directory(int dir, const std::string& name, mode_t) override {
    absent.erase(below(dir, name));
    return record("mkdir " + below(dir, name));
  }
  Status make_node(int dir, const std::string& name, mode_t, dev_t) override { return record("mknod " + below(dir, name)); }
  Status make_symlink(const std::string& target, int dir, const std::string& name) override { return record("link " + below(dir, name) + " " + target); }
  Status change_owner(int dir, const std::string& name, uid_t, gid_t) override { return record("chown " + below(dir, name)); }
  Status write_file(int, const std::string& path, const std::string& text, std::uint64_t) override { return record("write " + path + " " + text); }
  Status mount_on(int dir, const std::string& type, const std::string&, unsigned long, const std::string& data) override {
    return record("mount " + type + " " + names_[dir] + (data.empty() ? "" : " " + data));
  }
  Result<UniqueFd> clone_tree(int dir, const std::string& path, bool) override {
    TRY(record("clone " + below(dir, path)));
    return descriptor("clone:" + below(dir, path));
  }
  Status set_attributes(int mount, const MountAttributes&) override { return record("attributes " + names_[mount]); }
  Status attach(int mount, int target) override { return record("attach " + names_[mount] + " " + names_[target]); }
  Result<UniqueFd> fs_open(const std::string& type) override {
    TRY(record("fsopen " + type));
    return descriptor("fs:" + type);
  }
  Status fs_set_flag(int, const std::string& key) override { return record("set " + key); }
  Status fs_set_string(int, const std::string& key, const std::string&) override { return record("set " + key); }
  Status fs_set_fd(int, const std::string& key, int) override { return record("setfd " + key); }
  Status fs_create(int) override { return record("create"); }
  Result<UniqueFd> fs_mount(int, std::uint64_t) override {
    TRY(record("fsmount"));
    return descriptor("mount");
  }

  UniqueFd descriptor(const std::string& name) {
    UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    names_[fd.get()] = name;
    return fd;
  }

 private:
  Status record(const std::string& call) {
    calls.push_back(call);
    if (static_cast<int>(calls.size()) - 1 == fail_at) {
      return fail(fail_with, call);
    }
    if (const auto found = refused.find(call); found != refused.end()) {
      return fail(found->second, call);
    }
    return {};
  }
  std::string below(int dir, const std::string& path) {
    const auto name = names_.find(dir);
    if (name == names_.end() || name->second.empty()) {
      return path;
    }
    return path.empty() ? name->second : name->second + (path.starts_with('/') ? "" : "/") + path;
  }
  std::map<int, std::string> names_;
};

}  // namespace strata::test
