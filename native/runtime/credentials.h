// Becomes the container's user with exactly the capabilities that the config gives.
#pragma once

#include "runtime/user_lookup.h"

namespace strata::runtime {

// Sets that the machine itself cannot give (its bounding or permitted set lacks them) are cut down silently, as other runtimes do:
// a config with Docker's default set has to start on a machine without CAP_SYS_RESOURCE.
Done apply_credentials(const UserIdentity& user, const CapabilitySets& wanted);

// Lets go of the additional groups, the caller's, where the user namespace allows that: one that a user made for the own ids alone does not
// (user_namespaces(7)), and they stay.
Done drop_groups();

}  // namespace strata::runtime
