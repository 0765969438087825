// SPDX-License-Identifier: Apache-2.0
// The launcher after the start: stands in for the program towards whoever started it.
#ifndef VIEWFSD_LAUNCHER_SUPERVISOR_H_
#define VIEWFSD_LAUNCHER_SUPERVISOR_H_

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "util/unique_fd.h"

namespace viewfsd {

struct Supervision {
  pid_t child = -1;
  // SIGHUP does not end it.
  bool upgrades = false;
  UniqueFd control;
  // Runs when the program asks for the doors to be closed; returns an errno.
  std::function<int()> close_doors;
  // Runs after that: gives up what is no longer needed.
  std::function<void()> doors_closed;
};

// Blocks the signals that Supervise will handle; to be called before the child exists. The child
// calls UnblockSignals.
void BlockSignals();
void UnblockSignals();
// Those that are blocked: what the program handles, and SIGCHLD.
sigset_t HandledSignals();

// Ends as a child did; `status` as from waitpid.
[[noreturn]] void EndLike(int status);

// Passes signals on to the child until it has ended, removes FilesToRemove(), and ends as the child
// did.
[[noreturn]] void Supervise(Supervision supervision);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_SUPERVISOR_H_
