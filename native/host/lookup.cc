// SPDX-License-Identifier: Apache-2.0
// How the shared directory finds inodes: by name, by descriptor, by nodeid.
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "host/file_system_types.h"
#include "host/recent_names.h"
#include "host/shared_directory.h"
#include "session/finished_work.h"
#include "session/server_state.h"

namespace viewfsd {

namespace {

// More levels than any directory has.
constexpr int kMaxDepth = 1 << 16;

// Where a directory is found again while another file system is mounted in it.
MountPoint PointIn(const InodeUse& parent, const char* name) {
  MountPoint point = {parent->mount(), parent->handle(), UniqueFd(), name};
  if (!parent->is_mount_root() && point.handle.empty())
    point.fd.reset(fcntl(parent.fd(), F_DUPFD_CLOEXEC, 0));
  return point;
}

// Whether a directory of such a file system may give other numbers than stat, besides those of
// mount points: btrfs and bcachefs have a device for each subvolume, an overlay one for each layer,
// and numbers of its own for directories.
bool MayDifferFromStat(int64_t file_system, uint8_t type) {
  if (file_system == OVERLAYFS_SUPER_MAGIC) return true;
  return (file_system == kBtrfsMagic || file_system == kBcachefsMagic) && type == DT_DIR;
}

// Opens a name, O_PATH, if the kernel has it in its cache, where every mount point is.
int OpenCached(int directory, const char* name) {
  open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_CACHED;
  return static_cast<int>(syscall(SYS_openat2, directory, name, &how, sizeof(how)));
}

thread_local RecentNames recent_names;

}  // namespace

int64_t SharedDirectory::Lookup(uint64_t parent, const char* name, bool keeps_absence,
                                fuse_entry_out* entry) {
  const InodeUse directory = Use(parent);
  if (!directory) return directory.error();
  directory->told().CountLookup();
  // Always noted, also where nothing waits now.
  const bool recent = recent_names.Note(parent, name);
  if (!recent || !directory->mount()->answers_from_memory()) AnnounceWork();
  const int64_t result = LookupAt(directory, name, entry);
  // On file systems of others, names come without this machine's doing, and two that differ may be
  // one (FAT, CIFS): there the guest has to ask each time.
  const bool kept =
      keeps_absence && timeouts_.entry > 0 && directory->mount()->answers_from_memory();
  if (result != -ENOENT || !kept) return result;
  *entry = {};
  entry->entry_valid = timeouts_.entry;
  return 0;
}

int64_t SharedDirectory::LookupAt(const InodeUse& parent, const char* name, fuse_entry_out* entry) {
  struct statx status;
  if (const int result = Status(parent.fd(), name, kAttributeMask, &status); result < 0)
    return result;
  if (const InodeRef known = inodes_.FindAndCount(FactsOf(status)); known != nullptr) {
    const Mount& mount = *known->mount();
    if (mount.id() != parent->key().mount) recent_names.Forget(parent->nodeid(), name);
    // A mount can be moved.
    if (mount.id() != parent->key().mount && !mount.IsAt(*parent->mount(), parent->handle(), name))
      inodes_.Move(mount, PointIn(parent, name));
    FillEntry(status, *known, entry);
    return 0;
  }
  const int64_t result = LookupByHandle(parent, name, entry);
  if (result != 0) return result < 0 ? result : 0;
  const UniqueFd fd(openat(parent.fd(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return -errno;
  return LookupFd(parent, name, fd.get(), entry);
}

int64_t SharedDirectory::LookupListed(const InodeUse& parent, const char* name, uint64_t number,
                                      fuse_entry_out* entry) {
  // Most entries of a directory that is listed are new, and need no question whether they are.
  const InodeKey& directory = parent->key();
  if (!inodes_.Knows({directory.device, number, directory.mount})) {
    const int64_t result = LookupByHandle(parent, name, entry);
    if (result != 0) return result < 0 ? result : 0;
  }
  return LookupAt(parent, name, entry);
}

int64_t SharedDirectory::LookupByHandle(const InodeUse& parent, const char* name,
                                        fuse_entry_out* entry) {
  const std::shared_ptr<const Mount>& mount = parent->mount();
  if (mount->handles() < 0) return 0;
  FileHandle handle;
  const int64_t mount_id = handle.Get(parent.fd(), name);
  if (mount_id < 0) return mount_id == -ENOENT ? mount_id : 0;
  struct statx status;
  if (const int result = Status(parent.fd(), name, kAttributeMask, &status); result < 0)
    return result;
  // The name may have come to mean another inode between the two calls. Where it is the same number
  // again, the handle is stale and harmless.
  InodeFacts facts = FactsOf(status);
  const InodeKey& directory = parent->key();
  if (static_cast<uint64_t>(mount_id) != directory.mount || facts.key.mount != directory.mount ||
      facts.key.device != directory.device || !handle.NamesInode(mount->type(), facts.key.number))
    return 0;
  facts.home = parent->home();
  const int64_t result = Insert(facts, status, mount, std::move(handle), UniqueFd(), entry);
  return result < 0 ? result : 1;
}

bool SharedDirectory::IsSubmount(const InodeUse& parent, const struct statx& status) const {
  const InodeKey& above = parent->key();
  const bool differs = status.stx_mnt_id != above.mount || DeviceOf(status) != above.device;
  return differs && S_ISDIR(status.stx_mode) && submounts();
}

int64_t SharedDirectory::LookupFd(const InodeUse& parent, const char* name, int fd,
                                  fuse_entry_out* entry) {
  // Whatever a name has meant before: this is what the descriptor holds.
  struct statx status;
  if (const int result = Status(fd, "", kAttributeMask, &status); result < 0) return result;
  const bool mount_root = status.stx_mnt_id != parent->key().mount;
  AnnounceWork();
  if (mount_root) recent_names.Forget(parent->nodeid(), name);
  std::shared_ptr<const Mount> mount =
      mount_root ? MountBelow(parent, name, status, fd) : parent->mount();
  // The root of a mount is found by its mount point, and there is nothing else in that of a file.
  FileHandle handle;
  int64_t made = mount_root && !S_ISDIR(status.stx_mode) ? 0 : mount->handles();
  if (made == 0 && !mount_root) made = handle.Get(fd, "");
  if (made < 0 && handle_use_ == HandleUse::kMandatory) return made;
  UniqueFd held;
  if (made < 0 && !mount_root) {
    held.reset(openat(proc_fds_.get(), FdName(fd).c_str(), O_PATH | O_CLOEXEC));
    if (!held) return -errno;
  }
  InodeFacts facts = FactsOf(status);
  facts.submount = IsSubmount(parent, status);
  facts.home = facts.submount ? facts.key.device : parent->home();
  return Insert(facts, status, std::move(mount), std::move(handle), std::move(held), entry);
}

std::shared_ptr<const Mount> SharedDirectory::MountBelow(const InodeUse& parent, const char* name,
                                                         const struct statx& status, int fd) {
  // Outside of the lock: it may have to wait for the file system.
  std::shared_ptr<const Mount> met = Mount::Below(status, fd, handle_use_, PointIn(parent, name));
  if (met->MayWait()) some_wait_.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(mounts_mutex_);
  std::erase_if(mounts_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<const Mount>& place = mounts_[met->id()];
  const std::shared_ptr<const Mount> known = place.lock();
  // Another one has the id of one that is gone.
  if (known == nullptr || known->device() != met->device() || known->type() != met->type()) {
    place = met;
    return met;
  }
  if (!known->IsAt(*parent->mount(), parent->handle(), name))
    inodes_.Move(*known, PointIn(parent, name));
  return known;
}

std::shared_ptr<const Mount> SharedDirectory::FindMount(uint64_t id) {
  const std::lock_guard lock(mounts_mutex_);
  const auto found = mounts_.find(id);
  return found == mounts_.end() ? nullptr : found->second.lock();
}

int64_t SharedDirectory::Insert(const InodeFacts& facts, const struct statx& status,
                                std::shared_ptr<const Mount> mount, FileHandle handle, UniqueFd fd,
                                fuse_entry_out* entry) {
  InodeRef inode;
  const int result =
      inodes_.InsertAndCount(facts, std::move(mount), std::move(handle), std::move(fd), &inode);
  if (result < 0) return result;
  FillEntry(status, *inode, entry);
  return 0;
}

int64_t SharedDirectory::LookupSelf(uint64_t nodeid, fuse_entry_out* entry) {
  const InodeRef inode = inodes_.Recall(nodeid);
  if (inode == nullptr) return -ESTALE;
  const InodeUse use = inodes_.Use(inode);
  if (!use) return use.error();
  struct statx status;
  if (const int result = Status(use.fd(), "", kAttributeMask, &status); result < 0) return result;
  if (!inodes_.Count(inode)) return -ESTALE;
  FillEntry(status, *inode, entry);
  return 0;
}

int64_t SharedDirectory::LookupParent(uint64_t nodeid, fuse_entry_out* entry) {
  const InodeUse child = Use(nodeid);
  if (!child) return child.error();
  if (!S_ISDIR(child->type())) return -ENOTDIR;
  const UniqueFd fd(openat(child.fd(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return -errno;
  if (nodeid == InodeTable::kRootNodeid || !IsInShare(fd.get())) return -ESTALE;
  struct statx status;
  if (const int result = Status(fd.get(), "", kAttributeMask, &status); result < 0) return result;
  InodeFacts facts = FactsOf(status);
  int64_t result = 0;
  if (const InodeRef known = inodes_.FindAndCount(facts); known != nullptr) {
    FillEntry(status, *known, entry);
  } else {
    std::shared_ptr<const Mount> mount = FindMount(facts.key.mount);
    if (mount == nullptr) return -ESTALE;
    FileHandle handle;
    UniqueFd held;
    const bool mount_root = (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    if (!mount_root && (mount->handles() < 0 || handle.Get(fd.get(), "") < 0)) {
      held.reset(openat(fd.get(), ".", O_PATH | O_CLOEXEC));
      if (!held) return -errno;
    }
    // The guest knows the root of each of its mounts, so this is none.
    facts.home = child->home();
    result = Insert(facts, status, std::move(mount), std::move(handle), std::move(held), entry);
  }
  // It is not seen from above here: the guest's mount has no mount point in itself.
  if (result == 0) entry->attr.flags &= ~uint32_t{FUSE_ATTR_SUBMOUNT};
  return result;
}

// A directory that the guest knows may have been moved out of the share since.
bool SharedDirectory::IsInShare(int directory) const {
  UniqueFd above;
  InodeKey last = {};
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    struct statx status;
    if (Status(directory, "", STATX_INO | STATX_MNT_ID, &status) < 0) return false;
    const InodeKey key = FactsOf(status).key;
    if (key == root_key_) return true;
    // The root of the namespace is above itself.
    if (key == last) return false;
    last = key;
    UniqueFd next(openat(directory, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!next) return false;
    above = std::move(next);
    directory = above.get();
  }
  return false;
}

uint64_t SharedDirectory::NumberListed(const InodeUse& parent, const char* name, uint64_t number,
                                       uint8_t type, bool mount_points) {
  const InodeKey& directory = parent->key();
  struct statx status;
  bool seen = false;
  if (MayDifferFromStat(parent->mount()->type(), type)) {
    seen = Status(parent.fd(), name, STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) == 0;
  } else if (mount_points) {
    if (const UniqueFd fd(OpenCached(parent.fd(), name)); fd)
      seen = Status(fd.get(), "", STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) == 0;
  }
  if (!seen) return numbers_.Shown(parent->home(), directory.device, number);
  const uint64_t device = DeviceOf(status);
  const uint64_t home = IsSubmount(parent, status) ? device : parent->home();
  return numbers_.Shown(home, device, status.stx_ino);
}

// Of 512 bytes: what it takes no time to give back when a file loses its last name.
constexpr uint64_t kFewBlocks = 2048;

SharedDirectory::PinnedChild SharedDirectory::PinChild(const InodeUse& parent, const char* name) {
  PinnedChild nothing = {InodeUse(-ENOENT)};
  const Mount& mount = *parent->mount();
  if (mount.handles() < 0) return nothing;
  struct statx status;
  constexpr uint32_t kWanted = STATX_INO | STATX_MNT_ID | STATX_NLINK | STATX_BLOCKS;
  if (Status(parent.fd(), name, kWanted, &status) < 0) return nothing;
  if (status.stx_blocks > kFewBlocks) AnnounceWork();
  const InodeRef child = inodes_.Find(FactsOf(status).key);
  if (child == nullptr) return nothing;
  if (mount.renames_what_is_in_use()) {
    inodes_.DropDescriptor(child);
    return nothing;
  }
  return {inodes_.UseOnce(child), status.stx_nlink == 1};
}

void SharedDirectory::KeepUnlinked(PinnedChild& pinned) {
  InodeUse& inode = pinned.inode;
  if (!inode) return;
  // Other names may have gone at the same time. Whoever has taken the last one sees that here,
  // since each has pinned the inode before. To hold one that has got a name meanwhile does no harm.
  if (!pinned.last_name && !S_ISDIR(inode->type())) {
    struct statx status;
    if (Status(inode.fd(), "", STATX_NLINK, &status) == 0 && status.stx_nlink > 0) return;
  }
  inodes_.Hold(inode);
}

void SharedDirectory::KeepBefore(PinnedChild& pinned) {
  InodeUse& inode = pinned.inode;
  if (inode && (pinned.last_name || S_ISDIR(inode->type())) && ServerState::Get() != nullptr)
    inodes_.Hold(inode);
}

}  // namespace viewfsd
