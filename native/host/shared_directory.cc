// SPDX-License-Identifier: Apache-2.0
#include "host/shared_directory.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <mutex>

#include "host/file_system_types.h"
#include "host/xattr.h"
#include "session/finished_work.h"

namespace viewfsd {

namespace {

// Far more than a daemon has (one), and enough for the tests in one process.
constexpr size_t kMaxDirectories = 1024;
std::array<std::atomic<SharedDirectory*>, kMaxDirectories> directories;
std::atomic<size_t> directory_count{0};

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

InodeFacts FactsOf(const struct statx& status) {
  const InodeKey key = {DeviceOf(status), status.stx_ino, status.stx_mnt_id};
  const bool dated = (status.stx_mask & STATX_BTIME) != 0;
  const int64_t birth =
      dated ? status.stx_btime.tv_sec * 1'000'000'000 + status.stx_btime.tv_nsec : INT64_MIN;
  return {key, status.stx_mode & uint32_t{S_IFMT}, birth};
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
  if (memory_.error() < 0) return memory_.error();
  struct statx status;
  if (const int result = Status(root_.get(), "", kAttributeMask, &status); result < 0)
    return result;
  if (!S_ISDIR(status.stx_mode)) return -ENOTDIR;
  root_is_pseudo_ = IsPseudoFileSystem(root_.get());
  InodeFacts facts = FactsOf(status);
  facts.home = facts.key.device;
  root_key_ = facts.key;
  std::shared_ptr<const Mount> mount = Mount::Share(status, root_.get(), handle_use_);
  root_handles_ = mount->handles();
  if (handle_use_ == HandleUse::kMandatory && root_handles_ < 0) return root_handles_;
  mounts_[mount->id()] = mount;
  some_wait_ = mount->MayWait();
  if (record_->version.load() != 0) {
    const int result = inodes_.TakeOver(facts, mount, std::move(root_), exports());
    if (result < 0) return result;
    handles_.TakeOver(inodes_);
    locks_.TakeOver(inodes_);
    numbers_.TakeOver();
    mapped_ranges_.TakeOver();
    inodes_.ForEachMount([this](const std::shared_ptr<const Mount>& below) {
      mounts_[below->id()] = below;
      if (below->MayWait()) some_wait_ = true;
    });
    return 0;
  }
  const int result = inodes_.SetRoot(facts, std::move(mount), std::move(root_));
  if (result < 0) return result;
  record_->generation = RandomGeneration();
  record_->limits = limits_;
  record_->version.store(DirectoryRecord::kVersion, std::memory_order_release);
  return 0;
}

uint32_t SharedDirectory::RandomGeneration() {
  uint32_t random = 0;
  // Without, it is as good as a fixed one.
  if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0) random = 0;
  // The kernel has it as an int, and 0 for inodes that it makes by itself.
  return (random & INT32_MAX) | 1;
}

void SharedDirectory::Reset() {
  policy_.Withdraw();
  view_ranges_.Clear();
  mapped_ranges_.Clear();
  locks_.Clear();
  handles_.Clear();
  reopens_.Clear();
  kept_listings_.Clear();
  lost_.Clear();
  inodes_.Clear();
}

void SharedDirectory::Begin(bool submounts, bool exports, bool window) {
  record_->submounts = submounts;
  record_->exports = exports;
  record_->window = window;
  inodes_.set_remember(exports);
}

void SharedDirectory::DropCapability(uint64_t nodeid) {
  if (!capability_name_.empty()) RemoveXattr(*this, nodeid, capability_name_.c_str());
}

bool SharedDirectory::MayWait(uint64_t nodeid) {
  if (!some_wait_.load(std::memory_order_relaxed)) return false;
  const InodeRef inode = inodes_.Get(nodeid);
  return inode != nullptr && inode->mount()->MayWait();
}

bool SharedDirectory::IsLocal(uint64_t nodeid) {
  const InodeRef inode = inodes_.Get(nodeid);
  return inode != nullptr && inode->mount()->answers_from_memory();
}

bool SharedDirectory::IsMemory(uint64_t nodeid) {
  const InodeRef inode = inodes_.Get(nodeid);
  return inode != nullptr && viewfsd::IsMemory(inode->mount()->type());
}

void SharedDirectory::NoteSlow(uint64_t nodeid) {
  const InodeRef inode = inodes_.Get(nodeid);
  if (inode == nullptr) return;
  inode->mount()->NoteSlow();
  some_wait_.store(true, std::memory_order_relaxed);
}

void SharedDirectory::ChangedByGuest(uint64_t nodeid) {
  if (const InodeRef inode = inodes_.Get(nodeid); inode != nullptr) inode->told().GuestAsks();
}

int SharedDirectory::Reopen(const InodeRef& inode, int flags) {
  UniqueFd fd(OpenAgain(inode, flags));
  // Other kinds of file systems may go by it at reads and writes.
  if (fd && (flags & O_NONBLOCK) != 0 && fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) < 0)
    return -errno;
  return fd.release();
}

int SharedDirectory::OpenAgain(const InodeRef& inode, int flags) {
  // A handle opens the file at once, where a descriptor would have to be made first.
  if (inode->has_handle()) {
    const int fd = inode->mount()->Open(inode->handle(), flags | O_NOCTTY);
    // What the guest itself has unlinked is held by descriptor.
    if (fd != -ESTALE) return fd;
  }
  const InodeUse use = inodes_.Use(inode);
  if (!use) return use.error();
  const int fd = openat(proc_fds_.get(), FdName(use.fd()).c_str(), flags | O_CLOEXEC | O_NOCTTY);
  return fd < 0 ? -errno : fd;
}

void SharedDirectory::FillAttributes(const struct statx& status, const Inode& inode,
                                     fuse_attr* attributes) {
  inode.told().Tell(status);
  attributes->ino = NumberOf(inode);
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
  attributes->uid = uids_to_guest_.Translated(status.stx_uid);
  attributes->gid = gids_to_guest_.Translated(status.stx_gid);
  attributes->rdev = EncodeDevice(status.stx_rdev_major, status.stx_rdev_minor);
  attributes->blksize = BlockSize(status);
  attributes->flags = inode.submount() ? FUSE_ATTR_SUBMOUNT : 0;
  if (WantsDax(status, *inode.mount())) attributes->flags |= FUSE_ATTR_DAX;
}

uint32_t SharedDirectory::BlockSize(const struct statx& status) const {
  constexpr uint32_t kGuestPage = 4096;
  const bool mapped = S_ISREG(status.stx_mode) && record_->window.load(std::memory_order_relaxed);
  return mapped ? kGuestPage : status.stx_blksize;
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
                                fuse_entry_out* entry) {
  entry->nodeid = inode.nodeid();
  // Only a handle that the guest gives away outlives this object. The roots of its mounts the
  // kernel makes by itself, with generation 0.
  const bool is_root = inode.nodeid() == InodeTable::kRootNodeid || inode.submount();
  entry->generation = is_root || !exports() ? 0 : record_->generation;
  entry->entry_valid = timeouts_.entry;
  entry->attr_valid = AttributeTimeout(status.stx_mode);
  entry->entry_valid_nsec = 0;
  entry->attr_valid_nsec = 0;
  FillAttributes(status, inode, &entry->attr);
}

int64_t SharedDirectory::GetAttributes(uint64_t nodeid, fuse_attr_out* out) {
  const InodeUse inode = Use(nodeid);
  if (!inode) return inode.error();
  if (!inode->mount()->answers_from_memory()) AnnounceWork();
  struct statx status;
  if (const int result = Status(inode.fd(), "", kAttributeMask, &status); result < 0) return result;
  out->attr_valid = AttributeTimeout(status.stx_mode);
  out->attr_valid_nsec = 0;
  out->dummy = 0;
  FillAttributes(status, *inode, &out->attr);
  return 0;
}

}  // namespace viewfsd
