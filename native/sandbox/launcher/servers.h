// SPDX-License-Identifier: Apache-2.0
// The first process in the namespaces, where --on-crash=restart asks for one: it has servers
// started, the next one when a signal has ended one (succession.h). It serves nothing itself,
// starts nothing itself (starter.h), and looks at nothing that a server has written but one byte;
// it holds what has to outlive a server:
//
//   the state's shared memory object, in which a server tells its successor what it has
//   the memory view, which ends with the memory of the process that has opened it
//   the share's mount, of the first server's namespace: descriptors of two mounts can't be renamed
//   between a channel to each server's keeper (sandbox/keeper.h), who has the server's descriptors
//
// It has no capabilities, but for those that tell a server to end whose user is another one, or
// that remove the daemon's sockets where that is left to it.
#ifndef VIEWFSD_LAUNCHER_SERVERS_H_
#define VIEWFSD_LAUNCHER_SERVERS_H_

#include <vector>

#include "sandbox/launcher/plan.h"
#include "util/unique_fd.h"

namespace viewfsd {

// Does not return until a server has ended by itself, or by a signal that was passed on: then ends
// as that did. Signals must be blocked (BlockSignals). `programs`: descriptors of servers', which
// this process closes. `launcher`: is sent kCloseDoors when the first server's doors are closed;
// may be invalid.
[[noreturn]] void RunServers(const Plan& plan, bool user_namespace,
                             const std::vector<int>& programs, UniqueFd launcher);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_SERVERS_H_
