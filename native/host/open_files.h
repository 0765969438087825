// SPDX-License-Identifier: Apache-2.0
// What gives the guest an open file or directory: OPEN, OPENDIR, CREATE and TMPFILE; and
// descriptors for the DAX window. Results are 0 (or what is said) or -errno. Names have passed
// IsComponent.
//
// `flags` are the guest's. Of them count the access mode, O_TRUNC, O_APPEND (only for files that
// can't be opened otherwise: appending is up to each write), O_SYNC, O_DSYNC, O_DIRECT and
// O_NOATIME, as far as the policy passes them.
//
// None waits for a lease on the host (fcntl(2), F_SETLEASE) to be given up: -EWOULDBLOCK, and the
// same can be asked for again.
#ifndef VIEWFSD_OPEN_FILES_H_
#define VIEWFSD_OPEN_FILES_H_

#include <linux/fuse.h>

#include <cstdint>

#include "host/credentials.h"
#include "host/handle_table.h"
#include "host/shared_directory.h"
#include "session/service_policy.h"

namespace viewfsd {

// What the window shows of a file that is open for writing can be written when these return.

struct OpenRequest {
  uint64_t nodeid;
  int flags;
  // FUSE_OPEN_KILL_SUIDGID
  bool kill_suidgid;
  // Who opens: see JudgeOpen.
  uint32_t pid;
};
// -ESTALE also where the guest shall look the path up again: host/freshness.h.
int64_t OpenFile(SharedDirectory& directory, const OpenPolicy& policy, const OpenRequest& request,
                 fuse_open_out* out);
int64_t OpenDirectory(SharedDirectory& directory, const OpenPolicy& policy, uint64_t nodeid,
                      fuse_open_out* out);

struct CreateRequest {
  uint64_t parent;
  int flags;
  uint32_t mode;
  bool kill_suidgid;
};
// The guest knows the file afterwards, as after a LOOKUP. `made`: false where somebody else had
// made it by then, which O_EXCL forbids.
int64_t CreateFile(SharedDirectory& directory, const OpenPolicy& policy, const char* name,
                   const CreateRequest& request, const Caller& caller, fuse_entry_out* entry,
                   fuse_open_out* out, bool* made);
int64_t CreateTemporaryFile(SharedDirectory& directory, const OpenPolicy& policy,
                            const CreateRequest& request, const Caller& caller,
                            fuse_entry_out* entry, fuse_open_out* out);

// Opens again what a guest that has been moved here has open as `fh`, with the flags of the host's
// open(2) of then.
int64_t OpenRestored(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int flags);

// Closes what has been removed from the table. May take long.
void CloseFile(SharedDirectory& directory, ReleasedHandle handle);

// A descriptor for the DAX window, owned by the caller; or -errno: -EWOULDBLOCK while a program on
// the host holds a lease.
int64_t OpenMappingFile(SharedDirectory& directory, uint64_t nodeid, bool writable);

// The same, for bytes `offset` to `offset + length`, for which there is room on the disk then, if
// the directory `reserves()`; else -ENOSPC or -EDQUOT.
int64_t OpenMappingRange(SharedDirectory& directory, uint64_t nodeid, bool writable, int64_t offset,
                         int64_t length);

}  // namespace viewfsd

#endif  // VIEWFSD_OPEN_FILES_H_
