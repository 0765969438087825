// SPDX-License-Identifier: Apache-2.0
// Extended attributes of inodes. Results are 0 (or a length) or -errno.
#ifndef VIEWFSD_XATTR_H_
#define VIEWFSD_XATTR_H_

#include <cstddef>
#include <cstdint>

#include "host/shared_directory.h"

namespace viewfsd {

// `kill_sgid`: setting an ACL clears the setgid bit as for a caller outside of the file's group.
int64_t SetXattr(SharedDirectory& directory, uint64_t nodeid, const char* name, const void* value,
                 size_t size, int flags, bool kill_sgid);
// With a size of 0, the length alone.
int64_t GetXattr(SharedDirectory& directory, uint64_t nodeid, const char* name, void* value,
                 size_t size);
// With a size of 0, the length alone. `hide_acls` leaves out system.posix_acl_*.
int64_t ListXattr(SharedDirectory& directory, uint64_t nodeid, char* list, size_t size,
                  bool hide_acls);
int64_t RemoveXattr(SharedDirectory& directory, uint64_t nodeid, const char* name);

}  // namespace viewfsd

#endif  // VIEWFSD_XATTR_H_
