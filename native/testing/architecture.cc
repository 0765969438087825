// SPDX-License-Identifier: Apache-2.0
// Numbers of the kernel's that TypeScript has in its source, checked for each architecture that
// this is compiled for. What differs among them (O_DIRECT and its neighbours) TypeScript takes from
// node:fs.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cerrno>

static_assert(O_ACCMODE == 3 && O_TRUNC == 01000 && O_APPEND == 02000);
static_assert(O_DSYNC == 010000 && O_SYNC == 04010000);
static_assert(RWF_DSYNC == 2 && RWF_SYNC == 4 && RWF_APPEND == 16);
static_assert(FS_IOC_GETFLAGS == 0x80086601 && FS_IOC_SETFLAGS == 0x40086602);
static_assert(FS_IOC_FSGETXATTR == 0x801c581f && FS_IOC_FSSETXATTR == 0x401c5820);
static_assert(ENODATA == 61 && EPROTO == 71 && EOVERFLOW == 75 && EOPNOTSUPP == 95);
static_assert(ENOTCONN == 107 && ETIMEDOUT == 110 && ESTALE == 116 && EDQUOT == 122);
static_assert(S_IFMT == 0170000 && S_IFREG == 0100000 && S_IFDIR == 040000 && S_IFLNK == 0120000);
static_assert(F_RDLCK == 0 && F_WRLCK == 1 && F_UNLCK == 2);
static_assert(FALLOC_FL_KEEP_SIZE == 1 && FALLOC_FL_PUNCH_HOLE == 2);
static_assert(SEEK_DATA == 3 && SEEK_HOLE == 4);
