// SPDX-License-Identifier: Apache-2.0
// Looks at every thread of the process as the kernel reports it.
#ifndef VIEWFSD_THREAD_STATE_H_
#define VIEWFSD_THREAD_STATE_H_

#include <cstdint>
#include <string>

namespace viewfsd {

struct ThreadExpectation {
  // SECCOMP_MODE_FILTER and no_new_privs are wanted.
  bool filtered = false;
  // The launcher's filter and ours.
  uint64_t filters = 0;
  bool no_new_privileges = false;
  // Nothing beyond these may be effective or permitted, nor passed on (inheritable, ambient).
  uint64_t capabilities = 0;
  // The bounding set is restricted to them, too.
  bool bounded = false;
  // The root and the working directory are "/".
  bool at_root = false;
};

// `tasks`: /proc/self/task, open for reading. Returns what is wrong with the first thread that is
// not as expected, or nothing. Threads that end meanwhile are none; new ones inherit.
std::string CheckThreads(int tasks, const ThreadExpectation& expected);

}  // namespace viewfsd

#endif  // VIEWFSD_THREAD_STATE_H_
