// SPDX-License-Identifier: Apache-2.0
// The program's future root directory, and how the launcher changes to it from outside, so that the
// program never has CAP_SYS_ADMIN or CAP_SYS_CHROOT.
#ifndef VIEWFSD_LAUNCHER_ROOT_DIRECTORY_H_
#define VIEWFSD_LAUNCHER_ROOT_DIRECTORY_H_

#include <sys/types.h>

#include <string>

#include "util/unique_fd.h"

namespace viewfsd {

// In a new mount namespace: makes a mount of the shared directory, with all below it, on top of the
// root directory, where nobody sees it whose root that is. Returns its root, O_PATH. Mounts that
// the host makes below it later show up; none that is made here gets out.
UniqueFd MountSharedDirectory(const std::string& path, bool read_only);

// A directory as it is, O_PATH.
UniqueFd OpenDirectory(const std::string& path);

// This process's /proc/self/fd, O_PATH: where possible as a mount of its own that has nothing above
// it, so that ".." leads nowhere.
UniqueFd OpenProcFds(bool may_mount);

// For a process outside that has entered the mount namespace: pivots all whose root directory is
// `old_root` to `root` and drops what was there before. Returns an errno, 0 for success.
int PivotRoot(int old_root, int root);

// For a process that shares its root directory with the program (CLONE_FS).
int ChangeRoot(int root);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_ROOT_DIRECTORY_H_
