// SPDX-License-Identifier: Apache-2.0
// Which system calls the daemon may make once it serves guests, and why.
#ifndef VIEWFSD_SECCOMP_RULES_H_
#define VIEWFSD_SECCOMP_RULES_H_

#include <vector>

#include "sandbox/seccomp_program.h"

namespace viewfsd {

// In the order in which they are tried.
std::vector<SystemCallRule> SystemCallRules();

}  // namespace viewfsd

#endif  // VIEWFSD_SECCOMP_RULES_H_
