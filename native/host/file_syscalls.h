// SPDX-License-Identifier: Apache-2.0
// Operations of a shared directory on inodes, directory entries and open files, as the FUSE
// requests of the same names need them. Results are 0 (or what is said) or -errno. Names have
// passed IsComponent.
#ifndef VIEWFSD_FILE_SYSCALLS_H_
#define VIEWFSD_FILE_SYSCALLS_H_

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "host/credentials.h"
#include "host/shared_directory.h"

namespace viewfsd {

// Reads a symbolic link; returns its length, at most `size`.
int64_t ReadLink(SharedDirectory& directory, uint64_t nodeid, char* target, size_t size);

struct SetattrRequest {
  uint32_t valid;  // FATTR_*
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  int64_t size;
  uint64_t fh;
  int64_t atime;
  uint32_t atimensec;
  int64_t mtime;
  uint32_t mtimensec;
};
int64_t SetAttributes(SharedDirectory& directory, uint64_t nodeid, const SetattrRequest& request,
                      fuse_attr_out* out);

// The basic fields and the birth time, as struct fuse_statx_out (288 bytes; newer than the headers
// of some build machines).
constexpr size_t kStatxOutSize = 288;
int64_t GetStatx(SharedDirectory& directory, uint64_t nodeid, uint32_t mask, uint8_t* out);

// `rdev`: as in the FUSE protocol. Types: regular, FIFO, socket, character and block device.
int64_t MakeNode(SharedDirectory& directory, uint64_t parent, const char* name, uint32_t mode,
                 uint32_t rdev, const Caller& caller, fuse_entry_out* entry);
int64_t MakeDirectory(SharedDirectory& directory, uint64_t parent, const char* name, uint32_t mode,
                      const Caller& caller, fuse_entry_out* entry);
int64_t MakeSymlink(SharedDirectory& directory, uint64_t parent, const char* name,
                    const char* target, const Caller& caller, fuse_entry_out* entry);
int64_t MakeLink(SharedDirectory& directory, uint64_t nodeid, uint64_t new_parent,
                 const char* new_name, fuse_entry_out* entry);
// `flags`: 0 or AT_REMOVEDIR.
int64_t RemoveName(SharedDirectory& directory, uint64_t parent, const char* name, int flags);
// `flags`: RENAME_*; `caller`: whose a whiteout is.
int64_t RenameName(SharedDirectory& directory, uint64_t parent, const char* name,
                   uint64_t new_parent, const char* new_name, uint32_t flags, const Caller& caller);

// GetLock, SetLock and SetAttributes don't wait for a lease on the host (fcntl(2), F_SETLEASE) to
// be given up: -EWOULDBLOCK, and the same can be asked for again.

int64_t FlushFile(SharedDirectory& directory, uint64_t nodeid, uint64_t fh);
int64_t SyncHandle(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, HandleKind kind,
                   bool data_only);
int64_t Allocate(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int mode, int64_t offset,
                 int64_t length, bool kill_suidgid);
// `whence`: SEEK_DATA or SEEK_HOLE. Returns the offset.
int64_t Seek(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int64_t offset, int whence);
struct FileRange {
  uint64_t nodeid;
  uint64_t fh;
  int64_t offset;
};
// Returns the bytes copied, which may be fewer than there are: see copy_range.h.
int64_t CopyRange(SharedDirectory& directory, const FileRange& from, const FileRange& to,
                  int64_t length, bool kill_suidgid);

// FS_IOC_GETFLAGS, FS_IOC_SETFLAGS (4 bytes), FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR (28 bytes).
// `argument`: what the command takes or gives. Returns the bytes given; -ENOTTY for any other
// command, -EPERM for a change of the project, which the host's quotas go by.
constexpr size_t kIoctlArgumentSize = 28;
int64_t FileIoctl(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, HandleKind kind,
                  uint32_t command, uint8_t* argument);

// A byte range as fcntl(2) has it; `length` 0 up to the end of any file. `type`: F_RDLCK, F_WRLCK
// or F_UNLCK.
struct LockRequest {
  uint64_t nodeid;
  uint64_t fh;
  uint64_t owner;
  int64_t start;
  int64_t length;
  int type;
};
int64_t GetLock(SharedDirectory& directory, const LockRequest& request, fuse_lk_out* out);
// Neither waits: -EAGAIN.
int64_t SetLock(SharedDirectory& directory, const LockRequest& request);
int64_t SetFlock(SharedDirectory& directory, const LockRequest& request);

int64_t GetStatfs(SharedDirectory& directory, uint64_t nodeid, fuse_kstatfs* out);
// syncfs(2) of the file system that holds the inode.
int64_t SyncFileSystem(SharedDirectory& directory, uint64_t nodeid);

// Where the inode is, as this process sees it: for people to read. Empty where that can't be told.
std::string DescribePath(SharedDirectory& directory, uint64_t nodeid);

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_SYSCALLS_H_
