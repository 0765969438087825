// SPDX-License-Identifier: Apache-2.0
// The mounts that the guest has come across. The share's own is held as long as the daemon lives.
// Mounts below are not, so that the host can unmount them whatever the guest has looked at: each is
// found again for each request, by the directory that it is mounted in and its name there.
#ifndef VIEWFSD_MOUNT_H_
#define VIEWFSD_MOUNT_H_

#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "host/file_handle.h"
#include "util/unique_fd.h"

namespace viewfsd {

// When inodes are kept by file handle instead of by descriptor.
enum class HandleUse { kNever, kPrefer, kMandatory };

class Mount;
struct MountRecord;

// A mount point: a name in a directory of another mount.
struct MountPoint {
  std::shared_ptr<const Mount> mount;
  // The directory, by handle or, O_PATH, by descriptor; the root of `mount` where it has neither.
  FileHandle handle;
  UniqueFd fd;
  std::string name;
};

class Mount {
 public:
  // The share's own: `root`, O_PATH, is the shared directory.
  static std::shared_ptr<Mount> Share(const struct statx& status, int root, HandleUse use);
  // One below: `root`, O_PATH, is its root and stays the caller's.
  static std::shared_ptr<Mount> Below(const struct statx& status, int root, HandleUse use,
                                      MountPoint point);

  // As statx(2) and name_to_handle_at(2) have it. The host gives it to another mount once this one
  // is gone.
  uint64_t id() const { return id_; }
  // Of its root.
  uint64_t device() const { return device_; }
  // f_type of statfs(2).
  int64_t type() const { return file_system_; }
  // Whether it is the share's own, so that a descriptor in it keeps nobody from unmounting it.
  bool held() const { return held_; }
  // 0 where handles can be made and opened and are wanted, or why not as -errno.
  int handles() const { return handles_; }
  // Whether birth times come from this machine's clock, and a freed inode number that is used again
  // gets a new one.
  bool dated_by_own_clock() const;
  // Whether what is known of a file that is in use never has to be fetched from elsewhere. The same
  // file systems.
  bool answers_from_memory() const { return dated_by_own_clock(); }
  // Whether what is asked of it may have to wait: it does not answer from memory, or NoteSlow was
  // called within the last seconds.
  bool MayWait() const;
  void NoteSlow() const;
  // Whether closing a descriptor may do something: the file system has a ->flush, as NFS, AFS, CIFS
  // and FUSE have, and overlayfs for the one below. Those above have none that does.
  bool may_flush() const { return !dated_by_own_clock(); }
  // Whether a file that is unlinked while anything refers to it gets another name instead, which
  // keeps its directory from being removed (silly rename).
  bool renames_what_is_in_use() const;

  // False where certainly nothing is mounted below. Asks the kernel.
  bool MayHaveMountsBelow() const;

  // Opens the root, O_PATH or O_RDONLY. A descriptor; -ESTALE where the mount is not found there
  // any more; or -errno.
  int OpenRoot(int flags) const;
  // Opens an inode of its file system: open_by_handle_at(2). Only O_PATH is harmless for every type
  // of file. A descriptor or -errno.
  int Open(const FileHandle& handle, int flags) const;

  // It has been met at `name` in a directory; true where that is where it was met before.
  bool IsAt(const Mount& above, const FileHandle& directory, const char* name) const;
  void MoveTo(MountPoint point) const;

 private:
  friend class MountSlots;

  Mount(const struct statx& status, int root, bool held);
  // As a predecessor of this process has put it down.
  Mount(const MountRecord& record, MountPoint point);
  void Probe(int root, HandleUse use);
  std::shared_ptr<const MountPoint> point() const;

  const uint64_t id_;
  const uint64_t device_;
  const bool held_;
  // Never given to another mount; 0 where the kernel does not tell.
  uint64_t unique_id_ = 0;
  // O_RDONLY, of the shared directory.
  UniqueFd share_;
  int64_t file_system_ = 0;
  // See coarse_clock.h; 0 where it never was.
  mutable std::atomic<int64_t> slow_until_{0};
  int handles_ = -EOPNOTSUPP;
  // MountSlots' own: where the inode table has it.
  mutable uint32_t slot_ = UINT32_MAX;
  mutable std::mutex mutex_;
  // Null for the share's own.
  mutable std::shared_ptr<const MountPoint> point_;
};

// A device number as one word.
inline uint64_t DeviceOf(const struct statx& status) {
  return (uint64_t{status.stx_dev_major} << 32) | status.stx_dev_minor;
}

}  // namespace viewfsd

#endif  // VIEWFSD_MOUNT_H_
