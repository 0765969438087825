// SPDX-License-Identifier: Apache-2.0
// Reading directories: READDIR, READDIRPLUS. The positions that the guest gets are the
// host's own (d_off of getdents64), whatever their values, so they stay valid as long as the host's
// do, and no list of names is kept.
#ifndef VIEWFSD_DIRECTORY_H_
#define VIEWFSD_DIRECTORY_H_

#include <cstddef>
#include <cstdint>

#include "host/shared_directory.h"

namespace viewfsd {

// Writes entries from `offset` on, whole ones only, as struct fuse_dirent or, where `plus`,
// fuse_direntplus; each fuse_direntplus with a nodeid raises that inode's lookup count, and no
// other count is raised. Returns the bytes written, 0 at the end of the directory, -EINVAL where
// not one entry fits.
int64_t ReadDirectory(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int64_t offset,
                      bool plus, uint8_t* out, size_t size);

}  // namespace viewfsd

#endif  // VIEWFSD_DIRECTORY_H_
