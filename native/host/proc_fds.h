// SPDX-License-Identifier: Apache-2.0
// The process's one descriptor of /proc/self/fd, through which an O_PATH descriptor's inode is
// opened again. Behind the sandbox's doors there is no /proc, and a path that begins with it would
// be the guest's to make: everything goes through this descriptor.
#ifndef VIEWFSD_PROC_FDS_H_
#define VIEWFSD_PROC_FDS_H_

namespace viewfsd {

// Says which descriptor that is, before anybody has asked for it; it is the process's from then on.
void SetProcFds(int fd);

// O_PATH, never closed. Opens /proc/self/fd unless it has been set. Returns -errno where there is
// none.
int ProcFds();

}  // namespace viewfsd

#endif  // VIEWFSD_PROC_FDS_H_
