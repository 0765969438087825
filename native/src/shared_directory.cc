// SPDX-License-Identifier: Apache-2.0
#include "shared_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <mutex>

namespace viewfsd {

namespace {

// Far more than a daemon has (one), and enough for the tests in one process.
constexpr size_t kMaxDirectories = 1024;
std::array<std::atomic<SharedDirectory*>, kMaxDirectories> directories;
std::atomic<size_t> directory_count{0};

InodeFacts FactsOf(const struct statx& status) {
  const InodeKey key = {(uint64_t{status.stx_dev_major} << 32) | status.stx_dev_minor,
                        status.stx_ino, status.stx_mnt_id};
  const bool dated = (status.stx_mask & STATX_BTIME) != 0;
  const int64_t birth =
      dated ? status.stx_btime.tv_sec * 1'000'000'000 + status.stx_btime.tv_nsec : INT64_MIN;
  return {key, status.stx_mode & uint32_t{S_IFMT}, false, birth};
}

}  // namespace

FdName::FdName(int fd) { *std::to_chars(text_, text_ + sizeof(text_) - 1, fd).ptr = '\0'; }

int Status(int directory, const char* name, uint32_t mask, struct statx* status) {
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
  return statx(directory, name, flags, mask, status) < 0 ? -errno : 0;
}

bool IsComponent(const char* name, size_t length) {
  if (length == 0 || length > 255 || name[length] != '\0') return false;
  if (memchr(name, '/', length) != nullptr || memchr(name, '\0', length) != nullptr) return false;
  return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

uint32_t EncodeDevice(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xffu) << 12);
}

int RegisterSharedDirectory(std::unique_ptr<SharedDirectory> directory) {
  const size_t id = directory_count.fetch_add(1);
  if (id >= kMaxDirectories) return -ENFILE;
  directories[id].store(directory.release());
  return static_cast<int>(id);
}

SharedDirectory* FindSharedDirectory(int id) {
  if (id < 0 || static_cast<size_t>(id) >= kMaxDirectories) return nullptr;
  return directories[static_cast<size_t>(id)].load(std::memory_order_acquire);
}

int SharedDirectory::Initialize() {
  struct statx status;
  if (const int result = Status(root_.get(), "", kAttributeMask, &status); result < 0)
    return result;
  if (!S_ISDIR(status.stx_mode)) return -ENOTDIR;
  root_is_pseudo_ = IsPseudoFileSystem(root_.get());
  const InodeFacts facts = FactsOf(status);
  std::shared_ptr<const Mount> mount = MountOf(facts.key.mount, root_.get(), facts.type);
  root_handles_ = handle_use_ == HandleUse::kNever ? -EOPNOTSUPP : mount->handles();
  if (handle_use_ == HandleUse::kMandatory && root_handles_ < 0) return root_handles_;
  inodes_.SetRoot(facts, std::move(mount), std::move(root_));
  return 0;
}

std::shared_ptr<const Mount> SharedDirectory::MountOf(uint64_t id, int path_fd, uint32_t type) {
  const std::lock_guard lock(mounts_mutex_);
  auto known = mounts_.find(id);
  if (known != mounts_.end()) {
    if (std::shared_ptr<const Mount> mount = known->second.lock(); mount != nullptr) return mount;
  }
  std::erase_if(mounts_, [](const auto& entry) { return entry.second.expired(); });
  auto mount = std::make_shared<const Mount>(id, path_fd, type, proc_fds_.get());
  // Only a mount that has been opened keeps its id.
  if (mount->fd() >= 0) mounts_[id] = mount;
  return mount;
}

void SharedDirectory::Reset() {
  locks_.Clear();
  handles_.Clear();
  reopens_.Clear();
  inodes_.Clear();
}

int SharedDirectory::Reopen(const InodeRef& inode, int flags) {
  // A handle opens the file at once, where a descriptor would have to be made first.
  if (!inode->handle().empty()) {
    const int fd = inode->handle().Open(*inode->mount(), flags | O_NOCTTY);
    // What the guest itself has unlinked is held by descriptor.
    if (fd != -ESTALE) return fd;
  }
  const InodeUse use = inodes_.Use(inode);
  if (!use) return use.error();
  const int fd = openat(proc_fds_.get(), FdName(use.fd()).c_str(), flags | O_CLOEXEC | O_NOCTTY);
  return fd < 0 ? -errno : fd;
}

void SharedDirectory::FillAttributes(const struct statx& status, const Inode& inode,
                                     fuse_attr* attributes) const {
  inode.told().Tell(status);
  attributes->ino = status.stx_ino;
  attributes->size = status.stx_size;
  attributes->blocks = status.stx_blocks;
  attributes->atime = static_cast<uint64_t>(status.stx_atime.tv_sec);
  attributes->mtime = static_cast<uint64_t>(status.stx_mtime.tv_sec);
  attributes->ctime = static_cast<uint64_t>(status.stx_ctime.tv_sec);
  attributes->atimensec = status.stx_atime.tv_nsec;
  attributes->mtimensec = status.stx_mtime.tv_nsec;
  attributes->ctimensec = status.stx_ctime.tv_nsec;
  attributes->mode = status.stx_mode;
  attributes->nlink = status.stx_nlink;
  attributes->uid = status.stx_uid;
  attributes->gid = status.stx_gid;
  attributes->rdev = EncodeDevice(status.stx_rdev_major, status.stx_rdev_minor);
  attributes->blksize = status.stx_blksize;
  attributes->flags = inode.mount_root() && announce_submounts_.load(std::memory_order_relaxed)
                          ? FUSE_ATTR_SUBMOUNT
                          : 0;
  if (WantsDax(status, *inode.mount())) attributes->flags |= FUSE_ATTR_DAX;
}

bool SharedDirectory::WantsDax(const struct statx& status, const Mount& mount) const {
  if (!dax_policy_.enabled || !S_ISREG(status.stx_mode) || status.stx_size < dax_policy_.min_size)
    return false;
  const std::vector<int64_t>& shown = dax_policy_.file_systems;
  if (!shown.empty()) {
    if (std::ranges::find(shown, mount.type()) == shown.end()) return false;
    // Such a file has no page cache that a view could show.
    if ((status.stx_attributes & STATX_ATTR_DAX) != 0) return false;
  }
  return dax_policy_.min_age == 0 || time(nullptr) - status.stx_mtime.tv_sec >= dax_policy_.min_age;
}

void SharedDirectory::FillEntry(const struct statx& status, const Inode& inode,
                                fuse_entry_out* entry) const {
  entry->nodeid = inode.nodeid();
  entry->generation = 0;
  entry->entry_valid = timeouts_.entry;
  entry->attr_valid = AttributeTimeout(status.stx_mode);
  entry->entry_valid_nsec = 0;
  entry->attr_valid_nsec = 0;
  FillAttributes(status, inode, &entry->attr);
}

int64_t SharedDirectory::Lookup(uint64_t parent, const char* name, fuse_entry_out* entry) {
  const InodeUse directory = Use(parent);
  if (!directory) return directory.error();
  directory->told().CountLookup();
  return LookupAt(directory, name, entry);
}

int64_t SharedDirectory::LookupAt(const InodeUse& parent, const char* name, fuse_entry_out* entry) {
  struct statx status;
  if (const int result = Status(parent.fd(), name, kAttributeMask, &status); result < 0)
    return result;
  if (const InodeRef known = inodes_.FindAndCount(FactsOf(status)); known != nullptr) {
    FillEntry(status, *known, entry);
    return 0;
  }
  const int64_t result = LookupByHandle(parent, name, entry);
  if (result != 0) return result < 0 ? result : 0;
  const UniqueFd fd(openat(parent.fd(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return -errno;
  return LookupFd(parent, fd.get(), entry);
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
  if (handle_use_ == HandleUse::kNever || mount->handles() < 0) return 0;
  FileHandle handle;
  const int64_t mount_id = handle.Get(parent.fd(), name);
  if (mount_id < 0) return mount_id == -ENOENT ? mount_id : 0;
  struct statx status;
  if (const int result = Status(parent.fd(), name, kAttributeMask, &status); result < 0)
    return result;
  // The name may have come to mean another inode between the two calls. Where it is the same number
  // again, the handle is stale and harmless.
  const InodeFacts facts = FactsOf(status);
  const InodeKey& directory = parent->key();
  if (static_cast<uint64_t>(mount_id) != directory.mount || facts.key.mount != directory.mount ||
      facts.key.device != directory.device || !handle.NamesInode(*mount, facts.key.number))
    return 0;
  const int64_t result = Insert(status, false, mount, std::move(handle), UniqueFd(), entry);
  return result < 0 ? result : 1;
}

int64_t SharedDirectory::LookupFd(const InodeUse& parent, int fd, fuse_entry_out* entry) {
  // Whatever a name has meant before: this is what the descriptor holds.
  struct statx status;
  if (const int result = Status(fd, "", kAttributeMask, &status); result < 0) return result;
  const bool same_mount = status.stx_mnt_id == parent->key().mount;
  const bool mount_root = S_ISDIR(status.stx_mode) && !same_mount;
  std::shared_ptr<const Mount> mount =
      same_mount ? parent->mount() : MountOf(status.stx_mnt_id, fd, status.stx_mode & S_IFMT);
  FileHandle handle;
  if (handle_use_ != HandleUse::kNever) {
    int64_t made = mount->handles();
    if (made == 0) made = handle.Get(fd, "");
    if (made < 0 && handle_use_ == HandleUse::kMandatory) return made;
  }
  UniqueFd held;
  if (handle.empty()) {
    held.reset(openat(proc_fds_.get(), FdName(fd).c_str(), O_PATH | O_CLOEXEC));
    if (!held) return -errno;
  }
  return Insert(status, mount_root, std::move(mount), std::move(handle), std::move(held), entry);
}

int64_t SharedDirectory::Insert(const struct statx& status, bool mount_root,
                                std::shared_ptr<const Mount> mount, FileHandle handle, UniqueFd fd,
                                fuse_entry_out* entry) {
  InodeFacts facts = FactsOf(status);
  facts.mount_root = mount_root;
  InodeRef inode;
  const int result =
      inodes_.InsertAndCount(facts, std::move(mount), std::move(handle), std::move(fd), &inode);
  if (result < 0) return result;
  FillEntry(status, *inode, entry);
  return 0;
}

void SharedDirectory::HoldChild(const InodeUse& parent, const char* name) {
  if (handle_use_ == HandleUse::kNever || parent->mount()->handles() < 0) return;
  struct statx status;
  if (Status(parent.fd(), name, kAttributeMask, &status) < 0) return;
  if (S_ISDIR(status.stx_mode) || status.stx_nlink <= 1) inodes_.Hold(FactsOf(status).key);
}

int64_t SharedDirectory::GetAttributes(uint64_t nodeid, fuse_attr_out* out) {
  const InodeUse inode = Use(nodeid);
  if (!inode) return inode.error();
  struct statx status;
  if (const int result = Status(inode.fd(), "", kAttributeMask, &status); result < 0) return result;
  out->attr_valid = AttributeTimeout(status.stx_mode);
  out->attr_valid_nsec = 0;
  out->dummy = 0;
  FillAttributes(status, *inode, &out->attr);
  return 0;
}

}  // namespace viewfsd
