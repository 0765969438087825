// SPDX-License-Identifier: Apache-2.0
// The process that starts servers for the first process. A server's mount namespace and doors take
// CAP_SYS_ADMIN, and what it executes inherits its filter: so this process has the one, and little
// of the other. It hears nobody but the first process, which has neither and hears what servers
// say.
#ifndef VIEWFSD_LAUNCHER_STARTER_H_
#define VIEWFSD_LAUNCHER_STARTER_H_

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "sandbox/launcher/plan.h"
#include "sandbox/launcher/succession.h"
#include "util/unique_fd.h"

namespace viewfsd {

// What all servers get; lives as long as the process.
struct Lasting {
  bool user_namespace = false;
  // The state's shared memory object.
  int state = -1;
  // The device of the memory view, or -1.
  int view = -1;
};

// The first process's end of the channel.
class Starter {
 public:
  // Makes the process, which has all descriptors that the caller has. `plan` is to outlive this.
  Starter(const Plan& plan, const Lasting& lasting);

  // Children of the calling process: their ids. The process ends where they can't be had.
  pid_t StartServer(const ServerStart& start);
  pid_t StartProbe();

 private:
  pid_t Ask(void* request, size_t size, std::span<const int> fds);

  UniqueFd channel_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_STARTER_H_
