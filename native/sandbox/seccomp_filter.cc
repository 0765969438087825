// SPDX-License-Identifier: Apache-2.0
#include "sandbox/seccomp_filter.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "sandbox/seccomp_program.h"
#include "sandbox/seccomp_rules.h"

namespace viewfsd {

namespace {

uint32_t DefaultAction(SeccompAction action) {
  switch (action) {
    case SeccompAction::kKill:
      return SECCOMP_RET_KILL_PROCESS;
    case SeccompAction::kLog:
      return SECCOMP_RET_LOG;
    case SeccompAction::kTrap:
      return SECCOMP_RET_TRAP;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

}  // namespace

int InstallSeccompFilter(SeccompAction action) {
  std::vector<sock_filter> program = CompileRules(SystemCallRules(), DefaultAction(action));
  sock_fprog request = {static_cast<unsigned short>(program.size()), program.data()};
  const long result =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &request);
  return result < 0 ? -errno : static_cast<int>(result);
}

}  // namespace viewfsd
