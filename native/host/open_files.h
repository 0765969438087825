// SPDX-License-Identifier: Apache-2.0
// Files that the guest opens and closes, and what its window shows of them: what is open for
// writing nowhere is mapped read-only (view_ranges.h).
#ifndef VIEWFSD_OPEN_FILES_H_
#define VIEWFSD_OPEN_FILES_H_

#include <cstdint>

#include "host/handle_table.h"
#include "host/shared_directory.h"
#include "util/unique_fd.h"

namespace viewfsd {

// Gives the table a handle on a file that was opened with `flags`. What the window shows of a file
// that is open for writing can be written when this returns. Returns the handle's fh, or -errno.
int64_t AddFile(SharedDirectory& directory, uint64_t nodeid, int flags, UniqueFd fd);

// Closes what has been removed from the table. May take long.
void CloseFile(SharedDirectory& directory, HandleRef handle);

// A descriptor for the DAX window, owned by the caller; or -errno.
int64_t OpenMappingFile(SharedDirectory& directory, uint64_t nodeid, bool writable);

// The same, for bytes `offset` to `offset + length`, for which there is room on the disk then, if
// the directory `reserves()`; else -ENOSPC or -EDQUOT.
int64_t OpenMappingRange(SharedDirectory& directory, uint64_t nodeid, bool writable, int64_t offset,
                         int64_t length);

}  // namespace viewfsd

#endif  // VIEWFSD_OPEN_FILES_H_
