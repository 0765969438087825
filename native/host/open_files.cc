// SPDX-License-Identifier: Apache-2.0
#include "host/open_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "host/freshness.h"
#include "host/repeated.h"
#include "host/reserve_range.h"
#include "session/finished_work.h"

namespace viewfsd {

namespace {

constexpr int kOpenFlags = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME;

int WithAccess(int flags, int access) { return (flags & ~O_ACCMODE) | access; }

// The guest's open flags as the host shall see them.
int HostFlags(const OpenPolicy& policy, int flags) {
  const int passed = flags & static_cast<int>(policy.passed | O_ACCMODE);
  return policy.reads_always && (flags & O_ACCMODE) == O_WRONLY ? WithAccess(passed, O_RDWR)
                                                                : passed;
}

// To be called after a change of `inode.writers()`.
int SettleRanges(SharedDirectory& directory, const Inode& inode) {
  return directory.view_ranges().Settle(
      inode.nodeid(), [&] { return inode.writers().load() > 0; },
      [&](bool writable) {
        return static_cast<int>(OpenMappingFile(directory, inode.nodeid(), writable));
      });
}

// Gives the table a handle on a file that was opened with `flags`. Returns its fh.
// `reserved`: see HandleTable::Add.
int64_t AddHandle(SharedDirectory& directory, uint64_t nodeid, UniqueFd fd, int flags,
                  std::optional<uint64_t> reserved = {}) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY && directory.view_ranges().attached();
  const InodeRef inode = writes ? directory.inodes().Get(nodeid) : InodeRef();
  const bool counted = inode != nullptr;
  int64_t result = 0;
  if (counted) {
    inode->writers()++;
    result = SettleRanges(directory, *inode);
  }
  if (result == 0)
    result = directory.handles().Add(nodeid, std::move(fd), HandleKind::kFile, counted, reserved);
  if (result < 0 && counted) {
    inode->writers()--;
    SettleRanges(directory, *inode);
  }
  return result;
}

// The same for the reply. `mount`: the file's.
int64_t AddFile(SharedDirectory& directory, const OpenPolicy& policy, const Mount& mount,
                uint64_t nodeid, UniqueFd fd, int flags, int64_t freshness, fuse_open_out* out) {
  const int64_t fh = AddHandle(directory, nodeid, std::move(fd), flags);
  if (fh < 0) return fh;
  *out = {};
  out->fh = static_cast<uint64_t>(fh);
  out->open_flags = policy.file_flags[static_cast<size_t>(freshness)];
  const bool reads_only = (flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
  if (reads_only || !mount.may_flush()) out->open_flags |= policy.unflushed_flags;
  return 0;
}

constexpr auto kChanged = static_cast<int64_t>(Freshness::kChanged);

// The same for a file that is new to the guest, which forgets it where that fails.
int64_t AddCreated(SharedDirectory& directory, const OpenPolicy& policy, const Mount& mount,
                   UniqueFd fd, int flags, const fuse_entry_out& entry, fuse_open_out* out) {
  const int64_t result =
      AddFile(directory, policy, mount, entry.nodeid, std::move(fd), flags, kChanged, out);
  if (result < 0) directory.inodes().TakeBack(entry.nodeid);
  return result;
}

// `flags`: the host's. Returns a descriptor.
int OpenInode(SharedDirectory& directory, const InodeRef& inode, int flags, bool kill_suidgid) {
  if (!S_ISREG(inode->type())) return S_ISDIR(inode->type()) ? -EISDIR : -EINVAL;
  if ((flags & O_ACCMODE) == O_ACCMODE) return -EINVAL;
  if ((flags & O_TRUNC) != 0 || !inode->mount()->answers_from_memory()) AnnounceWork();
  std::optional<ScopedWithoutFsetid> ordinary;
  if (kill_suidgid && (flags & O_TRUNC) != 0) {
    directory.DropCapability(inode->nodeid());
    ordinary.emplace();
  }
  const int host_flags = (flags & kOpenFlags) | O_NONBLOCK;
  int result = directory.Reopen(inode, host_flags);
  // An append-only file can't be opened for writing in any other way.
  if (result == -EPERM && (flags & O_APPEND) != 0)
    result = directory.Reopen(inode, host_flags | O_APPEND);
  return result;
}

}  // namespace

int64_t OpenFile(SharedDirectory& directory, const OpenPolicy& policy, const OpenRequest& request,
                 fuse_open_out* out) {
  const int access = request.flags & O_ACCMODE;
  const bool truncates = (request.flags & O_TRUNC) != 0;
  if (policy.read_only && (access != O_RDONLY || truncates)) return -EROFS;
  const InodeRef inode = directory.inodes().Get(request.nodeid);
  if (inode == nullptr) return -ESTALE;
  const int flags = HostFlags(policy, request.flags);
  UniqueFd fd(OpenInode(directory, inode, flags, request.kill_suidgid));
  // A file that may be written and not read can do without a mapping.
  if (fd.get() == -EACCES && policy.may_write_only && access == O_WRONLY)
    fd.reset(OpenInode(directory, inode, WithAccess(flags, O_WRONLY), request.kill_suidgid));
  if (!fd) return fd.get();
  int64_t freshness = kChanged;
  if (truncates) {
    // The guest knows that it is empty now.
    inode->told().GuestAsks();
  } else if (policy.judges_files()) {
    freshness = JudgeOpen(directory, *inode, fd.get(), policy.asks_again ? request.pid : 0,
                          access == O_RDONLY);
    if (freshness < 0) return freshness;
  }
  return AddFile(directory, policy, *inode->mount(), request.nodeid, std::move(fd), request.flags,
                 freshness, out);
}

int64_t OpenDirectory(SharedDirectory& directory, const OpenPolicy& policy, uint64_t nodeid,
                      fuse_open_out* out) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  if (!S_ISDIR(inode->type())) return -ENOTDIR;
  if (!inode->mount()->answers_from_memory()) AnnounceWork();
  UniqueFd fd(openat(inode.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return -errno;
  const bool keeps = policy.judges_directories() && JudgeListing(directory, *inode, fd.get());
  const int64_t fh = directory.handles().Add(nodeid, std::move(fd), HandleKind::kDirectory);
  if (fh < 0) return fh;
  *out = {};
  out->fh = static_cast<uint64_t>(fh);
  out->open_flags = policy.directory_flags[keeps ? 1 : 0];
  return 0;
}

int64_t CreateFile(SharedDirectory& directory, const OpenPolicy& policy, const char* name,
                   const CreateRequest& request, const Caller& caller, fuse_entry_out* entry,
                   fuse_open_out* out, bool* made) {
  *made = false;
  if ((request.flags & O_ACCMODE) == O_ACCMODE) return -EINVAL;
  const InodeUse where = directory.Use(request.parent);
  if (!where) return where.error();
  const int flags = HostFlags(policy, request.flags);
  UniqueFd fd;
  {
    const ScopedCaller scope(caller);
    if (scope.result() < 0) return scope.result();
    const int create = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    fd.reset(openat(where.fd(), name, (flags & kOpenFlags) | create, request.mode & 07777));
    const int64_t result = Made(fd.get(), where.fd(), name, S_IFREG);
    *made = result == 0;
    if (result < 0 && (result != -EEXIST || (request.flags & O_EXCL) != 0)) return result;
  }
  if (fd) {
    // Whatever its name leads to by now.
    const int64_t result = directory.LookupFd(where, "", fd.get(), entry);
    return result < 0 ? result
                      : AddCreated(directory, policy, *where->mount(), std::move(fd), request.flags,
                                   *entry, out);
  }
  // Somebody else has made it since the guest looked. The guest expects a regular file here; ESTALE
  // lets it look again.
  if (const int64_t result = directory.LookupAt(where, name, entry); result < 0) return result;
  const InodeRef inode = directory.inodes().Get(entry->nodeid);
  int64_t result = -ESTALE;
  if (inode != nullptr && S_ISREG(inode->type())) {
    fd.reset(OpenInode(directory, inode, flags, request.kill_suidgid));
    if (fd)
      return AddCreated(directory, policy, *inode->mount(), std::move(fd), request.flags, *entry,
                        out);
    result = fd.get();
  }
  directory.inodes().TakeBack(entry->nodeid);
  return result;
}

int64_t CreateTemporaryFile(SharedDirectory& directory, const OpenPolicy& policy,
                            const CreateRequest& request, const Caller& caller,
                            fuse_entry_out* entry, fuse_open_out* out) {
  const InodeUse where = directory.Use(request.parent);
  if (!where) return where.error();
  const int access = request.flags & O_ACCMODE;
  if (access != O_WRONLY && access != O_RDWR) return -EINVAL;
  UniqueFd fd;
  {
    const ScopedCaller scope(caller);
    if (scope.result() < 0) return scope.result();
    // O_EXCL forbids giving the file a name later.
    const int kept = kOpenFlags & ~O_TRUNC;
    const int flags = (HostFlags(policy, request.flags) & kept) | (request.flags & O_EXCL);
    fd.reset(openat(where.fd(), ".", flags | O_TMPFILE | O_CLOEXEC, request.mode & 07777));
    if (!fd) return -errno;
  }
  const int64_t result = directory.LookupFd(where, "", fd.get(), entry);
  return result < 0 ? result
                    : AddCreated(directory, policy, *where->mount(), std::move(fd), request.flags,
                                 *entry, out);
}

int64_t OpenRestored(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int flags) {
  const InodeRef inode = directory.inodes().Get(nodeid);
  if (inode == nullptr) return -EBADF;
  int64_t result;
  if (S_ISDIR(inode->type())) {
    const InodeUse use = directory.Use(nodeid);
    if (!use) return use.error();
    UniqueFd fd(openat(use.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return -errno;
    result = directory.handles().Add(nodeid, std::move(fd), HandleKind::kDirectory, false, fh);
  } else {
    UniqueFd fd(OpenInode(directory, inode, flags & ~O_TRUNC, false));
    if (!fd) return fd.get();
    result = AddHandle(directory, nodeid, std::move(fd), flags, fh);
  }
  return result < 0 ? result : 0;
}

void CloseFile(SharedDirectory& directory, ReleasedHandle handle) {
  // A guest may have forgotten the inode meanwhile, and come back to it later.
  const InodeRef inode = handle.writes ? directory.inodes().Recall(handle.nodeid) : InodeRef();
  handle = {};
  if (inode == nullptr) return;
  inode->writers()--;
  SettleRanges(directory, *inode);
}

int64_t OpenMappingFile(SharedDirectory& directory, uint64_t nodeid, bool writable) {
  const InodeRef inode = directory.inodes().Get(nodeid);
  if (inode == nullptr) return -ESTALE;
  if (!S_ISREG(inode->type())) return S_ISDIR(inode->type()) ? -EISDIR : -EINVAL;
  const int fd = directory.Reopen(inode, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK);
  if (fd != -EACCES) return fd;
  // Like write(2), a mapping goes by what the file was opened for, whatever its mode is by now.
  const HandleRef handle = directory.handles().Find(nodeid, writable);
  if (handle == nullptr) return -EACCES;
  const int copy = fcntl(handle.fd(), F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

int64_t OpenMappingRange(SharedDirectory& directory, uint64_t nodeid, bool writable, int64_t offset,
                         int64_t length) {
  const int64_t opened = OpenMappingFile(directory, nodeid, writable);
  if (opened < 0 || !writable || !directory.reserves()) return opened;
  UniqueFd fd(static_cast<int>(opened));
  const int64_t result = ReserveRange(fd.get(), offset, length);
  return result < 0 ? result : fd.release();
}

}  // namespace viewfsd
