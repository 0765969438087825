// SPDX-License-Identifier: Apache-2.0
// A directory of the host that a guest sees: its inodes and handles, and what every operation on it
// needs. Operations return a result or -errno; they never follow a symbolic link and never leave
// the directory, because each works on the O_PATH descriptor of a known inode and at most one
// component below it.
#ifndef VIEWFSD_SHARED_DIRECTORY_H_
#define VIEWFSD_SHARED_DIRECTORY_H_

#include <linux/fuse.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "host/directory_record.h"
#include "host/freshness.h"
#include "host/handle_table.h"
#include "host/id_ranges.h"
#include "host/inode_numbers.h"
#include "host/inode_table.h"
#include "host/lock_table.h"
#include "host/lost_inodes.h"
#include "host/mount.h"
#include "host/table_memory.h"
#include "session/service_policy.h"
#include "util/unique_fd.h"
#include "window/mapped_ranges.h"
#include "window/view_ranges.h"
#include "window/window.h"

namespace viewfsd {

struct CacheTimeouts {
  // Seconds that the guest may keep a name and attributes without asking again.
  uint64_t entry;
  uint64_t attributes;
};

// Which regular files a guest shall reach through its DAX window (FUSE_ATTR_DAX); guests that were
// not mounted with dax=inode ignore it.
struct DaxPolicy {
  bool enabled = false;
  // Bytes.
  uint64_t min_size = 0;
  // Seconds since the last change of the data.
  int64_t min_age = 0;
  // f_type of those whose files the window can show; empty where it can show any.
  std::vector<int64_t> file_systems;
};

class SharedDirectory {
 public:
  // `root`: O_PATH; `proc_fds`: /proc/self/fd, O_PATH. Both become the object's.
  // `tables`: of a process that has ended, to be taken over; see MayTakeOver.
  SharedDirectory(UniqueFd root, UniqueFd proc_fds, const CacheTimeouts& timeouts,
                  HandleUse handle_use, const DirectoryLimits& limits, UniqueFd tables = UniqueFd())
      : budget_(limits.descriptors),
        memory_(BytesFor(limits), std::move(tables)),
        record_(memory_.Reserve<DirectoryRecord>(1)),
        inodes_(memory_, {limits.inodes, limits.cached, limits.remembered}, budget_),
        handles_(memory_, limits.descriptors, budget_),
        locks_(memory_, limits.descriptors, budget_),
        numbers_(memory_),
        mapped_ranges_(memory_.Reserve<PlaceRecords>(1)),
        root_(std::move(root)),
        proc_fds_(std::move(proc_fds)),
        timeouts_(timeouts),
        handle_use_(handle_use),
        limits_(limits) {}

  // Of its tables.
  static size_t BytesFor(const DirectoryLimits& limits) {
    return TableMemory::BytesOf<DirectoryRecord>(1) +
           InodeTable::BytesFor({limits.inodes, limits.cached, limits.remembered}) +
           HandleTable::BytesFor(limits.descriptors) + LockTable::BytesFor(limits.descriptors) +
           InodeNumbers::BytesFor() + TableMemory::BytesOf<PlaceRecords>(1);
  }
  // The tables' shared memory object; the directory's.
  int tables() const { return memory_.file(); }

  // Puts the root into the table, or takes over the tables. Returns 0 or -errno; -EOPNOTSUPP or
  // -EPERM where handles are mandatory and can't be had, -ESTALE where the tables are of another
  // directory.
  int Initialize();
  // See IsPseudoFileSystem.
  bool root_is_pseudo() const { return root_is_pseudo_; }
  // 0 where the root's file system has handles and they are used, or why not as -errno.
  int root_handles() const { return root_handles_; }

  // Forgets all handles, and all inodes but the root.
  void Reset();

  InodeTable& inodes() { return inodes_; }
  InodeUse Use(uint64_t nodeid) { return inodes_.Use(nodeid); }
  HandleTable& handles() { return handles_; }
  LockTable& locks() { return locks_; }
  Reopens& reopens() { return reopens_; }
  KeptListings& kept_listings() { return kept_listings_; }
  LostInodes& lost() { return lost_; }
  // Who serves what.
  PolicyBoard& policy() { return policy_; }
  // The DAX window that shows its files; null where there is none.
  Window* window() const { return window_.get(); }
  // Before the first request.
  void set_window(std::unique_ptr<Window> window) { window_ = std::move(window); }
  // What a window that is a memory view shows.
  ViewRanges& view_ranges() { return view_ranges_; }
  // What any window shows.
  MappedRanges& mapped_ranges() { return mapped_ranges_; }
  int proc_fds() const { return proc_fds_.get(); }
  // Seconds that the guest may keep attributes. None for a file with set-id bits: where the server
  // clears them at a write (HANDLE_KILLPRIV_V2), the guest isn't told, and would go on running the
  // program with the ids that it had.
  uint64_t AttributeTimeout(mode_t mode) const {
    return S_ISREG(mode) && (mode & (S_ISUID | S_ISGID)) != 0 ? 0 : timeouts_.attributes;
  }
  // What the guest has agreed to, after Reset. `submounts`: it makes a mount of its own where it is
  // told that another file system begins (FUSE_ATTR_SUBMOUNT). `exports`: it may come back to
  // inodes that it has forgotten (FUSE_EXPORT_SUPPORT). `window`: it maps files by DAX.
  void Begin(bool submounts, bool exports, bool window);
  // What the guest is told of a file's blocks, in bytes. Linux 6.12 takes it for the file's
  // own (7.3 doesn't), and writes no DAX mapping back where that is not a page: EIO at fsync.
  uint32_t BlockSize(const struct statx& status) const;
  // Whether LOOKUP of "." and ".." has a meaning.
  bool exports() const { return record_->exports.load(std::memory_order_relaxed); }
  // Of all nodeids; see DirectoryRecord. A guest that has been moved here goes on with its own.
  uint32_t generation() const { return record_->generation; }
  void set_generation(uint32_t generation) { record_->generation = generation; }
  // Before the first request, like those that follow.
  void set_dax_policy(const DaxPolicy& policy) { dax_policy_ = policy; }
  // Whether a mapping for writing makes room on the disk first (reserve_range.h).
  void set_reserves(bool reserves) { reserves_ = reserves; }
  bool reserves() const { return reserves_; }
  // The host's ids as the guest sees them.
  void set_ids_to_guest(IdRanges uids, IdRanges gids) {
    uids_to_guest_ = std::move(uids);
    gids_to_guest_ = std::move(gids);
  }
  const IdRanges& uids_to_guest() const { return uids_to_guest_; }
  const IdRanges& gids_to_guest() const { return gids_to_guest_; }
  // What the guest's ids are on the host.
  void set_ids_to_host(IdRanges uids, IdRanges gids) {
    uids_to_host_ = std::move(uids);
    gids_to_host_ = std::move(gids);
  }
  const IdRanges& uids_to_host() const { return uids_to_host_; }
  const IdRanges& gids_to_host() const { return gids_to_host_; }
  // Adds a security label that may come with what a guest makes, by its name there and on the host.
  void AddLabelName(std::string guest, std::string host) {
    label_names_.emplace_back(std::move(guest), std::move(host));
  }
  // The host's name; null for none.
  const std::string* FindLabelName(const char* guest) const {
    for (const auto& [name, host] : label_names_)
      if (name == guest) return &host;
    return nullptr;
  }
  // The host's name for file capabilities where it differs from the guest's, so that the host's
  // kernel does not drop them when a file is changed.
  void set_capability_name(std::string name) { capability_name_ = std::move(name); }
  // Drops file capabilities that are kept under another name.
  void DropCapability(uint64_t nodeid);

  // Takes `count` from an inode's lookup count, and its locks where it is forgotten.
  void Forget(uint64_t nodeid, uint64_t count) {
    if (inodes_.Forget(nodeid, count)) locks_.DropInode(nodeid);
    if (lost_.any()) lost_.Forget(nodeid, count);
  }

  // Whether what is asked of an inode may have to wait: its file system is another machine's or a
  // FUSE process's, or it has been slow of late.
  bool MayWait(uint64_t nodeid);
  // Whether its file system keeps everything on this machine.
  bool IsLocal(uint64_t nodeid);
  // Whether its file system is memory (tmpfs): nothing of it is on a disk.
  bool IsMemory(uint64_t nodeid);
  // Something that was asked of the inode took long.
  void NoteSlow(uint64_t nodeid);

  // The guest has changed a file by a request after which it asks for the attributes.
  void ChangedByGuest(uint64_t nodeid);

  // Finds a child and raises its lookup count. Fills the whole struct. `keeps_absence`: 0 and an
  // entry without nodeid, which is valid as long as a name, where there is no such child and the
  // guest may keep that.
  int64_t Lookup(uint64_t parent, const char* name, bool keeps_absence, fuse_entry_out* entry);
  int64_t LookupAt(const InodeUse& parent, const char* name, fuse_entry_out* entry);
  // The same for a name that has just been read from the directory, with its inode number.
  int64_t LookupListed(const InodeUse& parent, const char* name, uint64_t number,
                       fuse_entry_out* entry);
  // The same for the inode behind `fd`, of any kind, which stays the caller's. `name`: what it was
  // found by, or nothing for one that has no name.
  int64_t LookupFd(const InodeUse& parent, const char* name, int fd, fuse_entry_out* entry);

  // Finds an inode by its own nodeid, which the guest may have forgotten since: LOOKUP of ".".
  // -ESTALE where it is not remembered or is gone.
  int64_t LookupSelf(uint64_t nodeid, fuse_entry_out* entry);
  // Finds the directory that a directory lies in: LOOKUP of "..". -ESTALE where that is not in the
  // share.
  int64_t LookupParent(uint64_t nodeid, fuse_entry_out* entry);

  // The inode number that the guest shall see.
  uint64_t NumberOf(const Inode& inode) {
    const InodeKey key = inode.key();
    return numbers_.Shown(inode.home(), key.device, key.number);
  }
  // The same for a name that has just been read from the directory, with what the directory says of
  // its inode, d_ino and d_type, which count for nothing at mount points. `mount_points`: there may
  // be such (Mount::MayHaveMountsBelow).
  uint64_t NumberListed(const InodeUse& parent, const char* name, uint64_t number, uint8_t type,
                        bool mount_points);

  // What the guest knows of a child that is about to lose its name stays usable: to be called
  // before, and where the name is gone, KeepUnlinked with what it has returned.
  struct PinnedChild {
    InodeUse inode;
    // It had no other name.
    bool last_name = false;
  };
  PinnedChild PinChild(const InodeUse& parent, const char* name);
  void KeepUnlinked(PinnedChild& pinned);
  // The same before the name goes, where a successor of this process may have to find it: then the
  // descriptor must be in the tables by then. An inode that keeps its name is held all the same.
  void KeepBefore(PinnedChild& pinned);

  int64_t GetAttributes(uint64_t nodeid, fuse_attr_out* out);
  // What is filled in counts as told to the guest.
  void FillAttributes(const struct statx& status, const Inode& inode, fuse_attr* attributes);

  // Opens an inode by its handle or through /proc/self/fd. The caller has checked its
  // type: opening a FIFO or a device for the guest is never right. With O_NONBLOCK, which the
  // descriptor does not keep, -EWOULDBLOCK where a program on the host holds a lease, which it has
  // now been asked to give up. Returns a descriptor or -errno.
  int Reopen(const InodeRef& inode, int flags);

 private:
  int OpenAgain(const InodeRef& inode, int flags);
  static uint32_t RandomGeneration();
  bool submounts() const { return record_->submounts.load(std::memory_order_relaxed); }
  // The mount whose root a lookup has met, and where.
  std::shared_ptr<const Mount> MountBelow(const InodeUse& parent, const char* name,
                                          const struct statx& status, int fd);
  std::shared_ptr<const Mount> FindMount(uint64_t id);
  // The handle of a child, then its status: an inode that the handle is sure to name. Returns 1, or
  // 0 where that can't be had so, or -errno.
  int64_t LookupByHandle(const InodeUse& parent, const char* name, fuse_entry_out* entry);
  // Whether the guest is told that another file system begins at a child.
  bool IsSubmount(const InodeUse& parent, const struct statx& status) const;
  bool IsInShare(int directory) const;
  int64_t Insert(const InodeFacts& facts, const struct statx& status,
                 std::shared_ptr<const Mount> mount, FileHandle handle, UniqueFd fd,
                 fuse_entry_out* entry);
  bool WantsDax(const struct statx& status, const Mount& mount) const;
  void FillEntry(const struct statx& status, const Inode& inode, fuse_entry_out* entry);

  DescriptorBudget budget_;
  TableMemory memory_;
  DirectoryRecord* const record_;
  InodeTable inodes_;
  HandleTable handles_;
  LockTable locks_;
  Reopens reopens_;
  KeptListings kept_listings_;
  LostInodes lost_;
  InodeNumbers numbers_;
  ViewRanges view_ranges_;
  MappedRanges mapped_ranges_;
  std::unique_ptr<Window> window_;
  UniqueFd root_;
  InodeKey root_key_ = {};
  const UniqueFd proc_fds_;
  const CacheTimeouts timeouts_;
  const HandleUse handle_use_;
  int root_handles_ = -EOPNOTSUPP;
  bool root_is_pseudo_ = false;
  // Whether there has been a mount for which Mount::MayWait holds.
  std::atomic<bool> some_wait_{false};
  std::mutex mounts_mutex_;
  std::unordered_map<uint64_t, std::weak_ptr<const Mount>> mounts_;
  PolicyBoard policy_;
  const DirectoryLimits limits_;
  DaxPolicy dax_policy_;
  bool reserves_ = false;
  IdRanges uids_to_guest_;
  IdRanges gids_to_guest_;
  IdRanges uids_to_host_;
  IdRanges gids_to_host_;
  std::vector<std::pair<std::string, std::string>> label_names_;
  std::string capability_name_;
};

// A descriptor's name in /proc/self/fd.
class FdName {
 public:
  explicit FdName(int fd);
  const char* c_str() const { return text_; }

 private:
  char text_[16];
};

// statx(2) of `name` in `directory`, or of `directory` itself where the name is empty; with the
// mount id. Returns 0 or -errno.
int Status(int directory, const char* name, uint32_t mask, struct statx* status);
constexpr uint32_t kAttributeMask = STATX_BASIC_STATS | STATX_MNT_ID | STATX_BTIME;

// A single component that is neither "." nor "..": no slash within `length` bytes, NUL behind them.
bool IsComponent(const char* name, size_t length);

// What a status says of an inode; `home` and `submount` are left to the caller.
InodeFacts FactsOf(const struct statx& status);

// A device number as the FUSE protocol has it (the kernel's new_encode_dev).
uint32_t EncodeDevice(uint32_t major, uint32_t minor);

// Shared directories by number, so that threads with different JavaScript environments can share
// one. A number stays valid for the life of the process.
int RegisterSharedDirectory(std::unique_ptr<SharedDirectory> directory);
// Null for a number that was never given out.
SharedDirectory* FindSharedDirectory(int id);

}  // namespace viewfsd

#endif  // VIEWFSD_SHARED_DIRECTORY_H_
