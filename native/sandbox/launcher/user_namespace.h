// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_LAUNCHER_USER_NAMESPACE_H_
#define VIEWFSD_LAUNCHER_USER_NAMESPACE_H_

#include <sys/types.h>

#include "sandbox/launcher/plan.h"

namespace viewfsd {

// Gives the user namespace of process `child` its ids, from outside: the caller's own one directly,
// any others by newuidmap(1) and newgidmap(1), which check /etc/subuid and /etc/subgid. Ends the
// process where that fails.
void MapIds(pid_t child, const Plan& plan);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_USER_NAMESPACE_H_
