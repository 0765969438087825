// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_LAUNCHER_IO_URING_H_
#define VIEWFSD_LAUNCHER_IO_URING_H_

namespace viewfsd {

// Makes io_uring_setup(2) fail with ENOSYS for this process and all that it executes, but for rings
// of kIoUringEntries: ours, which can only read (fuse/read_ring.h). libuv makes a ring as soon as
// Node starts, and a ring that exists goes around any later filter. Needs no_new_privs.
void RefuseIoUring();

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_IO_URING_H_
