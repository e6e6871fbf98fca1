#include "cgroup_freezer.h"

#include <ctime>

#include "pseudo_file.h"

namespace strata {

namespace {

constexpr int kTries = 1000;  // of a millisecond: a process in uninterruptible sleep cannot be frozen

void pause_a_moment() {
  const timespec moment{0, 1'000'000};
  ::nanosleep(&moment, nullptr);
}

int v1_freezer(const Cgroup& cgroup) { return cgroup.controller_is_v2("freezer") ? -1 : cgroup.controller_fd("freezer"); }

Status timed_out(bool frozen) {
  return fail(ETIMEDOUT, frozen ? "freeze the container" : "thaw the container", "one of its processes is in uninterruptible sleep");
}

Status held_from_above() { return fail(EBUSY, "thaw the container", "a cgroup above its own is frozen: thaw that one first"); }

Status set_v1(int freezer, bool frozen) {
  const char* const wanted = frozen ? "FROZEN" : "THAWED";
  for (int attempt = 0; attempt < kTries; ++attempt) {
    // Written again each time: a fork in the middle leaves the cgroup half frozen.
    TRY(write_pseudo_file(freezer, "freezer.state", wanted));
    if (TRY(read_pseudo_file(freezer, "freezer.state")) == wanted) {
      return {};
    }
    if (const auto parent = read_pseudo_file(freezer, "freezer.parent_freezing"); !frozen && parent && *parent == "1") {
      return held_from_above();
    }
    pause_a_moment();
  }
  if (frozen) {
    (void)write_pseudo_file(freezer, "freezer.state", "THAWED");
  }
  return timed_out(frozen);
}

Status set_v2(int unified, bool frozen) {
  TRY(write_pseudo_file(unified, "cgroup.freeze", frozen ? "1" : "0"));
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const std::string events = TRY(read_pseudo_file(unified, "cgroup.events"));
    if (keyed_value(events, "frozen").value_or(frozen ? 1 : 0) == (frozen ? 1U : 0U)) {
      return {};
    }
    pause_a_moment();
  }
  if (!frozen) {
    return held_from_above();  // the kernel thaws at once what nobody else holds
  }
  (void)write_pseudo_file(unified, "cgroup.freeze", "0");
  return timed_out(frozen);
}

}  // namespace

bool is_frozen(const Cgroup& cgroup) {
  if (const int freezer = v1_freezer(cgroup); freezer >= 0) {
    const auto state = read_pseudo_file(freezer, "freezer.state");
    return state && *state != "THAWED";
  }
  if (cgroup.unified_fd() < 0) {
    return false;
  }
  // A cgroup whose own file says 0 is still where one above it holds it.
  const auto state = read_pseudo_file(cgroup.unified_fd(), "cgroup.freeze");
  const auto events = read_pseudo_file(cgroup.unified_fd(), "cgroup.events");
  return (state && *state == "1") || (events && keyed_value(*events, "frozen").value_or(0) == 1);
}

Status set_frozen(const Cgroup& cgroup, bool frozen) {
  if (const int freezer = v1_freezer(cgroup); freezer >= 0) {
    return set_v1(freezer, frozen);
  }
  if (cgroup.unified_fd() >= 0) {
    return set_v2(cgroup.unified_fd(), frozen);
  }
  return fail(ENOTSUP, "freeze the container", "this host has neither the v1 freezer nor cgroup v2");
}

}  // namespace strata
