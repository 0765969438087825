// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "sandbox/launcher/failure.h"

namespace viewfsd {
namespace {

// The bounding set is what an execve as uid 0 makes effective.
void BoundBoundingSet(uint64_t kept) {
  for (unsigned long capability = 0; capability < 64; capability++) {
    const int present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    // EINVAL: the kernel has no capability of this number, nor of a higher one.
    if (present < 0) break;
    if (present == 0 || ((kept >> capability) & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      FailErrno("dropping capability " + std::to_string(capability));
  }
}

}  // namespace

void BoundCapabilities(uint64_t kept) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) FailErrno("no_new_privs");
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, data) != 0) FailErrno("capget");
  // Whoever has none can't drop any from the bounding set either, and gains none by an execve.
  const bool has_setpcap =
      (data[CAP_TO_INDEX(CAP_SETPCAP)].effective & CAP_TO_MASK(CAP_SETPCAP)) != 0;
  if (has_setpcap) BoundBoundingSet(kept);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) FailErrno("ambient set");
  // Whoever is not root keeps by an execve what is ambient, and nothing else.
  const bool root = geteuid() == 0;
  for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
    const auto mask = static_cast<uint32_t>(kept >> (32 * word));
    data[word].permitted &= mask;
    data[word].effective = data[word].permitted;
    data[word].inheritable = root ? 0 : data[word].permitted;
  }
  if (syscall(SYS_capset, &header, data) != 0) FailErrno("capset");
  for (int capability = 0; capability < 64; capability++) {
    if ((data[CAP_TO_INDEX(capability)].inheritable & CAP_TO_MASK(capability)) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
      FailErrno("keeping capability " + std::to_string(capability));
  }
}

}  // namespace viewfsd
