// SPDX-License-Identifier: Apache-2.0
#include "host/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "host/file_system_types.h"
#include "host/mount_record.h"
#include "util/coarse_clock.h"

namespace viewfsd {

namespace {

// STATX_MNT_ID_UNIQUE and listmount(2), of Linux 6.8.
constexpr unsigned kMountIdUnique = 0x4000;
constexpr long kListMount = 458;

// How long a mount counts as slow, in nanoseconds.
constexpr int64_t kSlowFor = 2'000'000'000;

// Whether handles are of use only while the host's kernel has the inode in its cache anyway, so
// that a file could go stale that is still there. FUSE (virtiofs too) asks its server for others
// only if that has FUSE_EXPORT_SUPPORT, which nobody can see from here; FAT without -o nfs has
// nothing on the disk that a handle could name.
bool HandlesNeedTheCache(int64_t type) {
  return type == FUSE_SUPER_MAGIC || type == MSDOS_SUPER_MAGIC;
}

}  // namespace

Mount::Mount(const struct statx& status, int root, bool held)
    : id_(status.stx_mnt_id), device_(DeviceOf(status)), held_(held) {
  struct statfs file_system;
  if (fstatfs(root, &file_system) == 0) file_system_ = static_cast<uint32_t>(file_system.f_type);
  struct statx unique;
  if (statx(root, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, kMountIdUnique, &unique) == 0 &&
      (unique.stx_mask & kMountIdUnique) != 0)
    unique_id_ = unique.stx_mnt_id;
}

Mount::Mount(const MountRecord& record, MountPoint point)
    : id_(record.id),
      device_(record.device),
      held_(false),
      unique_id_(record.unique_id),
      file_system_(record.file_system),
      handles_(record.handles),
      point_(std::make_shared<const MountPoint>(std::move(point))) {}

std::shared_ptr<Mount> Mount::Share(const struct statx& status, int root, HandleUse use) {
  std::shared_ptr<Mount> mount(new Mount(status, root, true));
  mount->share_.reset(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!mount->share_)
    mount->handles_ = -errno;
  else
    mount->Probe(root, use);
  return mount;
}

std::shared_ptr<Mount> Mount::Below(const struct statx& status, int root, HandleUse use,
                                    MountPoint point) {
  std::shared_ptr<Mount> mount(new Mount(status, root, false));
  mount->MoveTo(std::move(point));
  // A mounted file is found by its mount point, and nothing else is in the mount.
  if (S_ISDIR(status.stx_mode)) mount->Probe(root, use);
  return mount;
}

void Mount::Probe(int root, HandleUse use) {
  if (use == HandleUse::kNever || (use == HandleUse::kPrefer && HandlesNeedTheCache(file_system_)))
    return;
  FileHandle probe;
  const int64_t mount = probe.Get(root, "");
  if (mount < 0 || static_cast<uint64_t>(mount) != id_) {
    handles_ = mount < 0 ? static_cast<int>(mount) : -EOPNOTSUPP;
    return;
  }
  const UniqueFd opened(Open(probe, O_PATH));
  handles_ = opened ? 0 : opened.get();
}

bool Mount::MayHaveMountsBelow() const {
  if (unique_id_ == 0) return true;
  // struct mnt_id_req and listmount(2) of Linux 6.8, which older headers lack. One is enough.
  const struct {
    uint32_t size;
    uint32_t spare;
    uint64_t mount;
    uint64_t after;
  } request = {sizeof(request), 0, unique_id_, 0};
  uint64_t below;
  return syscall(kListMount, &request, &below, 1, 0) != 0;
}

bool Mount::dated_by_own_clock() const { return IsLocal(file_system_); }

bool Mount::MayWait() const {
  if (!answers_from_memory()) return true;
  const int64_t until = slow_until_.load(std::memory_order_relaxed);
  return until != 0 && CoarseNow() < until;
}

void Mount::NoteSlow() const {
  slow_until_.store(CoarseNow() + kSlowFor, std::memory_order_relaxed);
}

bool Mount::renames_what_is_in_use() const {
  return file_system_ == NFS_SUPER_MAGIC || file_system_ == AFS_FS_MAGIC ||
         file_system_ == AFS_SUPER_MAGIC;
}

std::shared_ptr<const MountPoint> Mount::point() const {
  const std::lock_guard lock(mutex_);
  return point_;
}

void Mount::MoveTo(MountPoint point) const {
  auto moved = std::make_shared<const MountPoint>(std::move(point));
  const std::lock_guard lock(mutex_);
  // The old one ends after the lock is gone.
  point_.swap(moved);
}

bool Mount::IsAt(const Mount& above, const FileHandle& directory, const char* name) const {
  const std::shared_ptr<const MountPoint> known = point();
  return known != nullptr && known->mount.get() == &above && known->handle == directory &&
         known->name == name;
}

int Mount::OpenRoot(int flags) const {
  if (share_) {
    const int fd = openat(share_.get(), ".", flags | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
  }
  const std::shared_ptr<const MountPoint> known = point();
  const Mount& above = *known->mount;
  UniqueFd opened;
  int directory = known->fd ? known->fd.get() : above.share_.get();
  if (!known->fd && !(known->handle.empty() && above.share_)) {
    opened.reset(known->handle.empty() ? above.OpenRoot(O_PATH)
                                       : above.Open(known->handle, O_PATH));
    directory = opened.get();
    if (directory < 0) return directory;
  }
  UniqueFd root(openat(directory, known->name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  if (!root) return errno == ENOENT ? -ESTALE : -errno;
  struct statx status;
  if (statx(root.get(), "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) < 0)
    return -errno;
  if (status.stx_mnt_id != id_ || DeviceOf(status) != device_) return -ESTALE;
  return root.release();
}

int Mount::Open(const FileHandle& handle, int flags) const {
  if (share_) return handle.Open(share_.get(), flags);
  const UniqueFd root(OpenRoot(O_RDONLY | O_DIRECTORY));
  if (!root) return root.get();
  return handle.Open(root.get(), flags);
}

}  // namespace viewfsd
