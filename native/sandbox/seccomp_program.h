// SPDX-License-Identifier: Apache-2.0
// Rules about system calls, and the program for the kernel's filter that is made of them.
#ifndef VIEWFSD_SECCOMP_PROGRAM_H_
#define VIEWFSD_SECCOMP_PROGRAM_H_

#include <linux/filter.h>

#include <cstdint>
#include <vector>

namespace viewfsd {

// An argument that a call is restricted by. The kernel takes the low half of an `int` argument, so
// the filter looks at no more.
enum class ArgumentTest {
  kNone,
  // The argument is one of `values`.
  kOneOf,
  // All bits of values[0] are set.
  kAllBits,
  // No bit of values[0] is set.
  kNoBits,
};

struct SystemCallRule {
  uint32_t number;
  ArgumentTest test = ArgumentTest::kNone;
  int argument = 0;
  std::vector<uint32_t> values = {};
  // What a call that passes gets: 0 is allowed, else it fails with this errno.
  int error = 0;
};

// Rules of one call are tried in order; a call that none of them fits gets `otherwise`, a
// SECCOMP_RET_* value. Calls of another architecture end the process.
std::vector<sock_filter> CompileRules(const std::vector<SystemCallRule>& rules, uint32_t otherwise);

}  // namespace viewfsd

#endif  // VIEWFSD_SECCOMP_PROGRAM_H_
