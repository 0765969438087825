// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/execute.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "sandbox/launcher/capabilities.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/io_uring.h"
#include "sandbox/launcher/supervisor.h"

namespace viewfsd {

pid_t Clone(unsigned long flags) {
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

int WaitFor(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  // The processes that are waited for here exit with an errno.
  return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

void DieWithParent() {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) FailErrno("PR_SET_PDEATHSIG");
}

void Execute(const Plan& plan, const Launched& launched) {
  for (const int fd : {launched.root, launched.proc_fds, launched.control}) {
    if (fd >= 0) Inherit(fd);
  }
  std::string state;
  for (const int number : {launched.root, launched.proc_fds, launched.control})
    state += std::to_string(number) + ",";
  state += launched.user_namespace ? "1" : "0";
  if (setenv("VIEWFSD_LAUNCHED", state.c_str(), 1) != 0) FailErrno("setenv");
  BoundCapabilities(plan.capabilities);
  if (plan.filtered) RefuseIoUring();
  UnblockSignals();
  execv(plan.program[0], plan.program);
  FailErrno(plan.program[0]);
}

}  // namespace viewfsd
