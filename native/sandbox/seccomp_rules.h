// SPDX-License-Identifier: Apache-2.0
// Which system calls the daemon may make once it serves guests, and why.
#ifndef VIEWFSD_SECCOMP_RULES_H_
#define VIEWFSD_SECCOMP_RULES_H_

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

// Rules of one call are tried in order; where none fits, the filter's default action follows.
std::vector<SystemCallRule> SystemCallRules();

}  // namespace viewfsd

#endif  // VIEWFSD_SECCOMP_RULES_H_
