// What `create` and `restore` make alike, before the container has any process: its state on disk and its cgroup. All of it is undone where the rest fails.
#pragma once

#include <functional>

#include "core/rollback.h"
#include "runtime/mount_plan.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/container.h"
#include "runtime/oci/context.h"
#include "runtime/oci/systemd_scope.h"

namespace strata::runtime::oci {

// `cgroup_path` empty: it has none of its own.
PlanFacts plan_facts(const OciConfig& config, Privilege privilege, const CgroupHost& host, const std::string& cgroup_path);

class NewContainer {
 public:
  // `fresh` is its new state directory.
  NewContainer(Context& context, Container fresh, Bundle its_bundle);
  NewContainer(const NewContainer&) = delete;
  NewContainer& operator=(const NewContainer&) = delete;

  // On disk before anything is made: after a crash `delete` knows what there is to remove.
  Done record_intent();
  // With its limits and device rules set.
  Outcome<Cgroup> make_cgroup();
  // Once a process of the container's is in the scope that systemd made.
  void release_scope() { scope_holder_.release(); }
  // Its init is there: records it.
  Done record_init(pid_t pid);

  [[nodiscard]] const OciConfig& config() const { return bundle.config; }
  [[nodiscard]] Record& record() { return container.record; }

  // Undone in reverse, before the cgroup and the state, unless commit() says that the container stands.
  void undo_with(std::function<void()> undo) { rollback_.add(std::move(undo)); }
  void commit() { rollback_.commit(); }

  Container container;
  Bundle bundle;

 private:
  Outcome<Cgroup> make_rootless_cgroup();
  void remove_at_rollback(const CgroupHost& host, const std::string& path);
  [[nodiscard]] bool is_user() const { return context_.privilege == Privilege::kUser; }

  Context& context_;
  SystemdScope scope_;
  Rollback rollback_;         // it uses what stands above
  ScopeHolder scope_holder_;  // released before the scope is stopped
};

}  // namespace strata::runtime::oci
