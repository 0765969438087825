// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_HOST_FORGET_MOUNT_H_
#define VIEWFSD_HOST_FORGET_MOUNT_H_

#include <cstdint>

#include "host/shared_directory.h"

namespace viewfsd {

struct ForgottenMount {
  uint64_t inodes = 0;
  // Open files and directories.
  uint64_t handles = 0;
  // Of the window.
  uint64_t ranges = 0;
};

// Lets go of whatever keeps the host from unmounting a mount below the share: what the guest knows,
// has open and has locked there, and what the window shows of it. The guest gets ESTALE and EBADF
// for that, and can look the mount up again. Requests under way finish first, by themselves.
//
// `path`: of its root, from the shared directory on; links are not followed. `may_unmap`: a range
// that is taken from the window stops no guest. Returns 0 or -errno: -EINVAL what is there is no
// mount of its own, -EBUSY there are ranges that may not be unmapped, and nothing is done,
// -ENOTCONN the session has ended meanwhile, which does the same.
//
// May wait for file systems, but nobody waits for it: tables are looked at in small parts.
int ForgetMount(SharedDirectory& directory, const char* path, bool may_unmap, ForgottenMount* out);

}  // namespace viewfsd

#endif  // VIEWFSD_HOST_FORGET_MOUNT_H_
