// SPDX-License-Identifier: Apache-2.0
#include "host/file_syscalls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "host/copy_range.h"
#include "host/open_files.h"
#include "host/repeated.h"
#include "session/finished_work.h"

namespace viewfsd {

namespace {

constexpr uint64_t kStatxAttributes = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE |
                                      STATX_ATTR_APPEND | STATX_ATTR_NODUMP | STATX_ATTR_ENCRYPTED |
                                      STATX_ATTR_VERITY;

// Works on what a system call has just returned.
int64_t Result(int64_t returned) { return returned < 0 ? -errno : returned; }

// The attribute of a request that FUSE calls "now", "as given" or leaves out.
int64_t FillTime(uint32_t valid, uint32_t set_bit, uint32_t now_bit, int64_t seconds,
                 uint32_t nanoseconds, timespec* time) {
  time->tv_sec = 0;
  time->tv_nsec = UTIME_OMIT;
  if ((valid & now_bit) != 0) {
    time->tv_nsec = UTIME_NOW;
  } else if ((valid & set_bit) != 0) {
    // The special values of tv_nsec are not for the guest.
    if (nanoseconds > 999'999'999) return -EINVAL;
    time->tv_sec = seconds;
    time->tv_nsec = nanoseconds;
  }
  return 0;
}

int64_t Truncate(SharedDirectory& directory, const InodeUse& inode, const SetattrRequest& request) {
  if (!S_ISREG(inode->type())) return S_ISDIR(inode->type()) ? -EISDIR : -EINVAL;
  AnnounceWork();
  std::optional<ScopedWithoutFsetid> ordinary;
  if ((request.valid & FATTR_KILL_SUIDGID) != 0) ordinary.emplace();
  if ((request.valid & FATTR_FH) != 0) {
    const HandleRef handle =
        directory.handles().Get(request.fh, inode->nodeid(), HandleKind::kFile);
    // EINVAL: the handle is not open for writing, as with a write-back cache's own truncation.
    if (handle != nullptr) {
      const int64_t result = Result(ftruncate(handle.fd(), request.size));
      if (result != -EINVAL) return result;
    }
  }
  const UniqueFd fd(directory.Reopen(inode.ref(), O_WRONLY | O_NONBLOCK));
  if (!fd) return fd.get();
  return Result(ftruncate(fd.get(), request.size));
}

int64_t ChangeOwner(const InodeUse& inode, const SetattrRequest& request) {
  const uid_t uid = (request.valid & FATTR_UID) != 0 ? request.uid : static_cast<uid_t>(-1);
  const gid_t gid = (request.valid & FATTR_GID) != 0 ? request.gid : static_cast<gid_t>(-1);
  const int64_t result =
      Result(fchownat(inode.fd(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  // The user namespace has no such id.
  return result == -EINVAL ? RefuseOwner(uid, gid) : result;
}

int64_t ApplyAttributes(SharedDirectory& directory, const InodeUse& inode,
                        const SetattrRequest& request) {
  if ((request.valid & FATTR_MODE) != 0 && S_ISLNK(inode->type())) return -EOPNOTSUPP;
  // First, because a change of owner clears set-id bits that the new mode may have.
  if ((request.valid & (FATTR_UID | FATTR_GID)) != 0) {
    if (const int64_t result = ChangeOwner(inode, request); result < 0) return result;
  }
  if ((request.valid & FATTR_MODE) != 0) {
    const int64_t result =
        Result(fchmodat(directory.proc_fds(), FdName(inode.fd()).c_str(), request.mode & 07777, 0));
    if (result < 0) return result;
  }
  if ((request.valid & FATTR_SIZE) != 0) {
    if (const int64_t result = Truncate(directory, inode, request); result < 0) return result;
  }
  if ((request.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) != 0) {
    timespec times[2];
    int64_t result = FillTime(request.valid, FATTR_ATIME, FATTR_ATIME_NOW, request.atime,
                              request.atimensec, &times[0]);
    if (result < 0) return result;
    result = FillTime(request.valid, FATTR_MTIME, FATTR_MTIME_NOW, request.mtime, request.mtimensec,
                      &times[1]);
    if (result < 0) return result;
    return Result(utimensat(inode.fd(), "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  }
  return 0;
}

}  // namespace

int64_t ReadLink(SharedDirectory& directory, uint64_t nodeid, char* target, size_t size) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  if (!S_ISLNK(inode->type())) return -EINVAL;
  return Result(readlinkat(inode.fd(), "", target, size));
}

int64_t SetAttributes(SharedDirectory& directory, uint64_t nodeid, const SetattrRequest& request,
                      fuse_attr_out* out) {
  {
    const InodeUse inode = directory.Use(nodeid);
    if (!inode) return inode.error();
    if ((request.valid & FATTR_KILL_SUIDGID) != 0) directory.DropCapability(nodeid);
    if (const int64_t result = ApplyAttributes(directory, inode, request); result < 0)
      return result;
  }
  return directory.GetAttributes(nodeid, out);
}

int64_t GetStatx(SharedDirectory& directory, uint64_t nodeid, uint32_t mask, uint8_t* out) {
  struct Time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
  };
  struct StatxOut {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t spare0;
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    Time atime;
    Time btime;
    Time ctime;
    Time mtime;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint64_t spare2[14];
  };
  static_assert(sizeof(StatxOut) == kStatxOutSize);

  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  struct statx status;
  const uint32_t known = STATX_BASIC_STATS | STATX_BTIME;
  // The basic fields always: the guest caches them for attr_valid whatever it asked for.
  if (const int result = Status(inode.fd(), "", (mask & known) | STATX_BASIC_STATS, &status);
      result < 0)
    return result;
  const auto time = [](const statx_timestamp& from) { return Time{from.tv_sec, from.tv_nsec, 0}; };
  inode->told().Tell(status);
  StatxOut reply = {};
  reply.attr_valid = directory.AttributeTimeout(status.stx_mode);
  reply.mask = status.stx_mask & known;
  reply.blksize = directory.BlockSize(status);
  // What concerns the host's mounts is not the guest's.
  reply.attributes = status.stx_attributes & kStatxAttributes;
  reply.nlink = status.stx_nlink;
  reply.uid = directory.uids_to_guest().Translated(status.stx_uid);
  reply.gid = directory.gids_to_guest().Translated(status.stx_gid);
  reply.mode = status.stx_mode;
  reply.ino = directory.NumberOf(*inode);
  reply.size = status.stx_size;
  reply.blocks = status.stx_blocks;
  reply.attributes_mask = status.stx_attributes_mask & kStatxAttributes;
  reply.atime = time(status.stx_atime);
  reply.btime = time(status.stx_btime);
  reply.ctime = time(status.stx_ctime);
  reply.mtime = time(status.stx_mtime);
  reply.rdev_major = status.stx_rdev_major;
  reply.rdev_minor = status.stx_rdev_minor;
  reply.dev_major = status.stx_dev_major;
  reply.dev_minor = status.stx_dev_minor;
  memcpy(out, &reply, sizeof(reply));
  return 0;
}

int64_t MakeNode(SharedDirectory& directory, uint64_t parent, const char* name, uint32_t mode,
                 uint32_t rdev, const Caller& caller, fuse_entry_out* entry) {
  const InodeUse where = directory.Use(parent);
  if (!where) return where.error();
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      break;
    default:
      return -EINVAL;
  }
  const dev_t device = makedev((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & ~0xffu));
  {
    const ScopedCaller scope(caller);
    if (scope.result() < 0) return scope.result();
    const int made = mknodat(where.fd(), name, mode, device);
    if (const int64_t result = Made(made, where.fd(), name, mode & S_IFMT); result < 0)
      return result;
  }
  return directory.LookupAt(where, name, entry);
}

int64_t MakeDirectory(SharedDirectory& directory, uint64_t parent, const char* name, uint32_t mode,
                      const Caller& caller, fuse_entry_out* entry) {
  const InodeUse where = directory.Use(parent);
  if (!where) return where.error();
  {
    const ScopedCaller scope(caller);
    if (scope.result() < 0) return scope.result();
    const int made = mkdirat(where.fd(), name, mode & 07777);
    if (const int64_t result = Made(made, where.fd(), name, S_IFDIR); result < 0) return result;
  }
  return directory.LookupAt(where, name, entry);
}

int64_t MakeSymlink(SharedDirectory& directory, uint64_t parent, const char* name,
                    const char* target, const Caller& caller, fuse_entry_out* entry) {
  const InodeUse where = directory.Use(parent);
  if (!where) return where.error();
  {
    const ScopedCaller scope(caller);
    if (scope.result() < 0) return scope.result();
    const int made = symlinkat(target, where.fd(), name);
    if (const int64_t result = Made(made, where.fd(), name, S_IFLNK); result < 0) return result;
  }
  return directory.LookupAt(where, name, entry);
}

int64_t MakeLink(SharedDirectory& directory, uint64_t nodeid, uint64_t new_parent,
                 const char* new_name, fuse_entry_out* entry) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  const InodeUse where = directory.Use(new_parent);
  if (!where) return where.error();
  if (S_ISDIR(inode->type())) return -EPERM;
  // Follows /proc's link to the inode and no further: a symbolic link itself gets the new name.
  const int linked = linkat(directory.proc_fds(), FdName(inode.fd()).c_str(), where.fd(), new_name,
                            AT_SYMLINK_FOLLOW);
  if (const int64_t result = Linked(linked, where.fd(), new_name, inode.fd()); result < 0)
    return result;
  return directory.LookupAt(where, new_name, entry);
}

int64_t RemoveName(SharedDirectory& directory, uint64_t parent, const char* name, int flags) {
  const InodeUse where = directory.Use(parent);
  if (!where) return where.error();
  auto pinned = directory.PinChild(where, name);
  directory.KeepBefore(pinned);
  if (unlinkat(where.fd(), name, flags) < 0 && (errno != ENOENT || !IsRepeated())) return -errno;
  directory.KeepUnlinked(pinned);
  return 0;
}

int64_t RenameName(SharedDirectory& directory, uint64_t parent, const char* name,
                   uint64_t new_parent, const char* new_name, uint32_t flags,
                   const Caller& caller) {
  const InodeUse from = directory.Use(parent);
  if (!from) return from.error();
  const InodeUse to = directory.Use(new_parent);
  if (!to) return to.error();
  if (Renamed(from.fd(), name, to.fd(), new_name, flags)) return 0;
  // Mostly nothing has the new name, which the rename itself can tell. EINVAL: not on this file
  // system.
  if (flags == 0) {
    if (renameat2(from.fd(), name, to.fd(), new_name, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EEXIST && errno != EINVAL) return -errno;
  }
  SharedDirectory::PinnedChild replaced = {InodeUse(-ENOENT)};
  if ((flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == 0)
    replaced = directory.PinChild(to, new_name);
  directory.KeepBefore(replaced);
  {
    // A whiteout, which stays in place of the name, is a new inode.
    std::optional<ScopedCaller> scope;
    if ((flags & RENAME_WHITEOUT) != 0) scope.emplace(caller);
    if (scope && scope->result() < 0) return scope->result();
    if (renameat2(from.fd(), name, to.fd(), new_name, flags) < 0) return -errno;
  }
  directory.KeepUnlinked(replaced);
  return 0;
}

int64_t FlushFile(SharedDirectory& directory, uint64_t nodeid, uint64_t fh) {
  const HandleRef handle = directory.handles().Get(fh, nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  // Closing any descriptor of the file makes its file system report late errors (NFS, quota).
  if (const int copy = fcntl(handle.fd(), F_DUPFD_CLOEXEC, 0); copy >= 0)
    return Result(close(copy));
  // No descriptor is left, which is no fault of the file's; fsync reports the same errors.
  return fsync(handle.fd()) == 0 || errno == EINVAL || errno == EROFS ? 0 : -errno;
}

int64_t SyncHandle(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, HandleKind kind,
                   bool data_only) {
  const HandleRef handle = directory.handles().Get(fh, nodeid, kind);
  if (handle == nullptr) return -EBADF;
  const int fd = handle.fd();
  return Result(data_only ? fdatasync(fd) : fsync(fd));
}

int64_t Allocate(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int mode, int64_t offset,
                 int64_t length, bool kill_suidgid) {
  const HandleRef handle = directory.handles().Get(fh, nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  std::optional<ScopedWithoutFsetid> ordinary;
  if (kill_suidgid) {
    directory.DropCapability(nodeid);
    ordinary.emplace();
  }
  directory.ChangedByGuest(nodeid);
  return Result(fallocate(handle.fd(), mode, offset, length));
}

int64_t Seek(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return -EINVAL;
  const HandleRef handle = directory.handles().Get(fh, nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  // Nobody uses the descriptor's own position: all reads and writes carry theirs.
  return Result(lseek(handle.fd(), offset, whence));
}

int64_t CopyRange(SharedDirectory& directory, const FileRange& from, const FileRange& to,
                  int64_t length, bool kill_suidgid) {
  const HandleRef source = directory.handles().Get(from.fh, from.nodeid, HandleKind::kFile);
  const HandleRef target = directory.handles().Get(to.fh, to.nodeid, HandleKind::kFile);
  if (source == nullptr || target == nullptr) return -EBADF;
  std::optional<ScopedWithoutFsetid> ordinary;
  if (kill_suidgid) {
    directory.DropCapability(to.nodeid);
    ordinary.emplace();
  }
  directory.ChangedByGuest(to.nodeid);
  return CopyFileRange(source.fd(), from.offset, target.fd(), to.offset, length);
}

int64_t FileIoctl(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, HandleKind kind,
                  uint32_t command, uint8_t* argument) {
  static_assert(sizeof(fsxattr) == kIoctlArgumentSize);
  const HandleRef handle = directory.handles().Get(fh, nodeid, kind);
  if (handle == nullptr) return -EBADF;
  const int fd = handle.fd();
  int flags = 0;
  fsxattr attributes = {};
  switch (command) {
    case FS_IOC_GETFLAGS:
      if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) return -errno;
      memcpy(argument, &flags, sizeof(flags));
      return sizeof(flags);
    case FS_IOC_SETFLAGS: {
      int old = 0;
      if (ioctl(fd, FS_IOC_GETFLAGS, &old) < 0) return -errno;
      memcpy(&flags, argument, sizeof(flags));
      if (((flags ^ old) & FS_PROJINHERIT_FL) != 0) return -EPERM;
      return Result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    }
    case FS_IOC_FSGETXATTR:
      if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) return -errno;
      memcpy(argument, &attributes, sizeof(attributes));
      return sizeof(attributes);
    case FS_IOC_FSSETXATTR: {
      fsxattr old = {};
      if (ioctl(fd, FS_IOC_FSGETXATTR, &old) < 0) return -errno;
      memcpy(&attributes, argument, sizeof(attributes));
      if (attributes.fsx_projid != old.fsx_projid ||
          ((attributes.fsx_xflags ^ old.fsx_xflags) & FS_XFLAG_PROJINHERIT) != 0)
        return -EPERM;
      return Result(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
    }
    default:
      return -ENOTTY;
  }
}

namespace {

// The owner's description for the inode, which the guest must have open.
LockTable::Description LockDescription(SharedDirectory& directory, const LockRequest& request,
                                       int64_t* error) {
  *error = 0;
  LockTable::Description known = directory.locks().Find(request.nodeid, request.owner);
  if (known != nullptr) return known;
  const InodeRef inode = directory.inodes().Get(request.nodeid);
  *error = -EBADF;
  if (inode == nullptr || !S_ISREG(inode->type()) ||
      directory.handles().Get(request.fh, request.nodeid, HandleKind::kFile) == nullptr)
    return nullptr;
  // A write lock needs a writable one, a read lock a readable one.
  int fd = directory.Reopen(inode, O_RDWR | O_NONBLOCK);
  if (fd < 0 && fd != -EWOULDBLOCK) fd = directory.Reopen(inode, O_RDONLY | O_NONBLOCK);
  *error = fd < 0 ? fd : -ENOLCK;
  if (fd < 0) return nullptr;
  return directory.locks().Add(request.nodeid, request.owner, request.fh, UniqueFd(fd));
}

struct flock RangeOf(const LockRequest& request) {
  struct flock range = {};
  range.l_type = static_cast<short>(request.type);
  range.l_whence = SEEK_SET;
  range.l_start = request.start;
  range.l_len = request.length;
  return range;
}

}  // namespace

int64_t GetLock(SharedDirectory& directory, const LockRequest& request, fuse_lk_out* out) {
  int64_t error;
  const LockTable::Description description = LockDescription(directory, request, &error);
  if (description == nullptr) return error;
  struct flock range = RangeOf(request);
  if (fcntl(description->get(), F_OFD_GETLK, &range) < 0) return -errno;
  *out = {};
  out->lk.type = static_cast<uint32_t>(range.l_type);
  if (range.l_type == F_UNLCK) return 0;
  out->lk.start = static_cast<uint64_t>(range.l_start);
  out->lk.end = range.l_len == 0 ? uint64_t{INT64_MAX}
                                 : static_cast<uint64_t>(range.l_start + range.l_len - 1);
  // Whose it is, only the host could say; its process numbers mean nothing to the guest.
  return 0;
}

int64_t SetLock(SharedDirectory& directory, const LockRequest& request) {
  AnnounceWork();
  int64_t error = 0;
  LockTable::Description description;
  if (request.type == F_UNLCK) {
    description = directory.locks().Find(request.nodeid, request.owner);
    if (description == nullptr) return 0;
  } else {
    description = LockDescription(directory, request, &error);
  }
  if (description == nullptr) return error;
  struct flock range = RangeOf(request);
  if (fcntl(description->get(), F_OFD_SETLK, &range) == 0) return 0;
  return errno == EACCES ? -EAGAIN : -errno;
}

int64_t SetFlock(SharedDirectory& directory, const LockRequest& request) {
  AnnounceWork();
  const HandleRef handle = directory.handles().Get(request.fh, request.nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  const int operation = request.type == F_RDLCK   ? LOCK_SH
                        : request.type == F_WRLCK ? LOCK_EX
                                                  : LOCK_UN;
  return Result(flock(handle.fd(), operation | LOCK_NB));
}

int64_t GetStatfs(SharedDirectory& directory, uint64_t nodeid, fuse_kstatfs* out) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  struct statfs status;
  if (fstatfs(inode.fd(), &status) < 0) return -errno;
  *out = {};
  out->blocks = status.f_blocks;
  out->bfree = status.f_bfree;
  out->bavail = status.f_bavail;
  out->files = status.f_files;
  out->ffree = status.f_ffree;
  out->bsize = static_cast<uint32_t>(status.f_bsize);
  out->namelen = static_cast<uint32_t>(status.f_namelen);
  out->frsize = static_cast<uint32_t>(status.f_frsize);
  return 0;
}

int64_t SyncFileSystem(SharedDirectory& directory, uint64_t nodeid) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  if (!S_ISDIR(inode->type())) return -ENOTDIR;
  const UniqueFd fd(openat(inode.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return -errno;
  return Result(syncfs(fd.get()));
}

std::string DescribePath(SharedDirectory& directory, uint64_t nodeid) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return {};
  char path[PATH_MAX];
  const std::string name = std::to_string(inode.fd());
  const ssize_t length = readlinkat(directory.proc_fds(), name.c_str(), path, sizeof(path));
  return length < 0 ? std::string() : std::string(path, static_cast<size_t>(length));
}

}  // namespace viewfsd
