// SPDX-License-Identifier: Apache-2.0
// What the launcher's processes become, or are made with.
#ifndef VIEWFSD_LAUNCHER_EXECUTE_H_
#define VIEWFSD_LAUNCHER_EXECUTE_H_

#include <sys/types.h>

#include <string>

#include "sandbox/launcher/plan.h"

namespace viewfsd {

// fork(2) with flags.
pid_t Clone(unsigned long flags);
// An errno: how a child that exits with one has ended.
int WaitFor(pid_t process);
// The calling process is killed when the thread that made it ends.
void DieWithParent();

// What server/sandbox/launch.ts reads in the program.
struct Launched {
  int root = -1;
  int proc_fds = -1;
  int control = -1;
  bool user_namespace = false;
};

// Makes way for the program, with the descriptors and the capabilities that it shall have.
[[noreturn]] void Execute(const Plan& plan, const Launched& launched);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_EXECUTE_H_
