// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_LABEL_H_
#define VIEWFSD_LABEL_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "host/shared_directory.h"

namespace viewfsd {

// Gives an inode of `type` (S_IF*), which has just been made, the security label `name` of the
// guest's, under its name on the host. Symbolic links and devices have none where that is in
// `user.`, which the host's kernel allows to files and directories alone. Returns 0 or -errno:
// -EPERM for a name that the host has none for.
int64_t SetLabel(SharedDirectory& directory, uint64_t nodeid, mode_t type, const char* name,
                 const void* value, size_t size);

}  // namespace viewfsd

#endif  // VIEWFSD_LABEL_H_
