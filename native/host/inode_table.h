// SPDX-License-Identifier: Apache-2.0
// The inodes that the guest knows: nodeid -> file handle or O_PATH descriptor, and lookup count;
// and back from (device, inode number, mount) to the nodeid. Shared by the threads of all request
// queues.
//
// An inode with a handle costs no descriptor; those in the share's own mount that were used last
// keep one in a cache. The root of a mount without handles, and a file that is mounted by itself,
// are found by their mount point. Whatever else has no handle holds its O_PATH descriptor as long
// as it is known.
//
// The guest knows an inode while its lookup count is not zero. Whoever works on one holds a
// reference besides, so a FORGET on another queue can't close the descriptor under a system call
// (and let its number be reused): the descriptor closes with the last reference.
//
// A guest that has negotiated FUSE_EXPORT_SUPPORT comes back to inodes that it has forgotten, by
// the nodeid in a file handle of its own. So those that hold no descriptor are remembered, the last
// ones that were forgotten, and get the same nodeid when they are looked up again.
#ifndef VIEWFSD_INODE_TABLE_H_
#define VIEWFSD_INODE_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "host/descriptor_cache.h"
#include "host/file_handle.h"
#include "host/given_log.h"
#include "host/handle_store.h"
#include "host/inode.h"
#include "host/inode_record.h"
#include "host/mount.h"
#include "host/mount_slots.h"
#include "host/record_index.h"
#include "host/record_pool.h"
#include "host/table_memory.h"
#include "util/unique_fd.h"

namespace viewfsd {

// The descriptors that a guest can make the process hold, over all tables.
class DescriptorBudget {
 public:
  explicit DescriptorBudget(size_t limit) : left_(static_cast<int64_t>(limit)) {}
  bool Take() {
    if (left_.fetch_sub(1, std::memory_order_relaxed) > 0) return true;
    left_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  void Give(size_t count) {
    left_.fetch_add(static_cast<int64_t>(count), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> left_;
};

class InodeTable {
 public:
  static constexpr uint64_t kRootNodeid = 1;

  struct Limits {
    size_t inodes;
    // Descriptors of inodes with handles that are kept for the next use.
    size_t cached;
    // Inodes besides that the guest has forgotten.
    size_t remembered;
  };
  static size_t BytesFor(const Limits& limits);
  // `memory` and `budget` outlive the table.
  InodeTable(TableMemory& memory, const Limits& limits, DescriptorBudget& budget);
  ~InodeTable();

  // The root stays until the table dies, whatever is forgotten, and holds its descriptor. To be
  // called once, first of all. Returns 0 or -errno.
  int SetRoot(const InodeFacts& facts, std::shared_ptr<const Mount> mount, UniqueFd fd);

  // In place of SetRoot, in tables that another process has left at any instant: makes anew what
  // does not follow from their records. The root's facts, mount and descriptor are this process's.
  // Returns 0; -ESTALE where it is another
  // directory, and then nothing has changed.
  int TakeOver(const InodeFacts& facts, const std::shared_ptr<const Mount>& mount, UniqueFd fd,
               bool remember);

  // Visits each descriptor that the records hold, of inodes and of mount points.
  template <typename Visit>
  void ForEachDescriptor(Visit visit) {
    const std::lock_guard lock(mutex_);
    records_.ForEach([&](uint32_t index) {
      if (records_[index].listed && records_[index].held >= 0) visit(records_[index].held);
    });
    mounts_.ForEachDescriptor(visit);
  }

  // Whether forgotten inodes are remembered, from now on.
  void set_remember(bool remember);

  // Null where the guest does not know that nodeid (any more).
  InodeRef Get(uint64_t nodeid);

  // The same, also for one that it has forgotten and that is remembered.
  InodeRef Recall(uint64_t nodeid);

  // Raises the lookup count; false where the inode is not even remembered any more.
  bool Count(const InodeRef& inode);

  // The inode with a descriptor; -ESTALE where the guest does not know it or it is gone.
  InodeUse Use(uint64_t nodeid);
  InodeUse Use(const InodeRef& inode);
  // The same for one that has just been looked at and will not be used again: does not wait, and
  // leaves the cache alone.
  InodeUse UseOnce(const InodeRef& inode);

  // Raises the lookup count of an inode that the guest knows already and that certainly is the one
  // that has been looked at. Null where there is none, or where only its handle can tell.
  InodeRef FindAndCount(const InodeFacts& facts);

  bool Knows(const InodeKey& key);
  // Null where no inode is known under that key, or another one than before.
  InodeRef Find(const InodeKey& key);

  // Adds an inode with a lookup count of one. Where another thread was faster, raises the count of
  // its entry. Where `handle` is empty, `fd` is held, if there is one, or the mount point names it.
  // Returns 0, -ENFILE where a limit is reached, or -ENOTCONN for a request of an older session
  // (guest_session.h).
  int InsertAndCount(const InodeFacts& facts, std::shared_ptr<const Mount> mount,
                     const FileHandle& handle, UniqueFd fd, InodeRef* inode);

  // The guest has taken the last name from an inode, whose handle may go stale with the use:
  // the descriptor is held from here on. Does nothing where that can't be had.
  void Hold(InodeUse& use);

  // Closes the descriptor that the cache has of an inode.
  void DropDescriptor(const InodeRef& inode);

  // Takes `count` from the lookup count. Too large a count, or an unknown nodeid, is the guest's
  // mistake and no error. Returns whether the inode has gone.
  bool Forget(uint64_t nodeid, uint64_t count);
  // How often a predecessor of this process has called Forget for the present request.
  size_t CountForgotten();

  // Takes back the count of one that the present request has just got, and will not tell of.
  void TakeBack(uint64_t nodeid);

  // Those that the guest knows of a mount, for whoever goes through all without holding anybody up:
  // see HandleTable::From.
  std::vector<uint64_t> KnownFrom(size_t* place, uint64_t mount);

  struct Known {
    uint64_t nodeid;
    uint64_t lookups;
  };
  // All that the guest knows, in the same way.
  std::vector<Known> KnownFrom(size_t* place);

  // The nodeid that the next new inode gets.
  uint64_t next_nodeid();
  // Nodeids below `next` belong to a guest that knows them from elsewhere.
  void Reserve(uint64_t next);
  // Gives a reserved nodeid, and its lookup count, to an inode that has just been looked up.
  // Returns 0, or -EEXIST where the inode or the nodeid is another one's already.
  int Renumber(uint64_t nodeid, uint64_t reserved, uint64_t lookups);
  // A mount has been met at another place.
  void Move(const Mount& mount, MountPoint point);
  template <typename Visit>
  void ForEachMount(Visit visit) {
    const std::lock_guard lock(mutex_);
    mounts_.ForEach(visit);
  }
  // No other file system begins there after all. Before the guest is told of it.
  void ClearSubmount(const InodeRef& inode);

  // Forgets everything but the root. Nodeids are never given out again.
  void Clear();

  // Known inodes, the root included.
  size_t size();

 private:
  friend class Inode;
  friend class InodeRef;
  friend class InodeUse;

  struct ByNodeid {
    // They are given out one after the other, so that this spreads them best.
    static uint64_t Hash(uint64_t nodeid) { return nodeid; }
    static uint64_t HashOf(const InodeRecord& record) { return Hash(record.nodeid); }
    static bool Has(const InodeRecord& record, uint64_t nodeid) { return record.nodeid == nodeid; }
    static uint32_t& Next(InodeRecord& record) { return record.next_by_nodeid; }
  };
  struct ByKey {
    static uint64_t Hash(const InodeKey& key) {
      uint64_t hash = key.number * 0x9e3779b97f4a7c15u;
      hash ^= (key.device + (key.mount << 32)) * 0xc2b2ae3d27d4eb4fu;
      return hash ^ (hash >> 29);
    }
    uint64_t MountOf(const InodeRecord& record) const { return mounts->At(record.mount)->id(); }
    uint64_t HashOf(const InodeRecord& record) const {
      return Hash({record.device, record.number, MountOf(record)});
    }
    bool Has(const InodeRecord& record, const InodeKey& key) const {
      return record.number == key.number && record.device == key.device &&
             MountOf(record) == key.mount;
    }
    static uint32_t& Next(InodeRecord& record) { return record.next_by_key; }

    const MountSlots* mounts;
  };
  // What follows from no record.
  struct State {
    // How many have been given out, besides the root's, or are reserved.
    uint64_t nodeids;
    // Of those that are remembered, in the order in which they were forgotten.
    uint32_t oldest;
    uint32_t newest;
    uint32_t remembered;
  };
  // What an inode leaves behind, to be dropped after the lock is gone: to close a descriptor may do
  // I/O.
  struct Remains {
    UniqueFd held;
    UniqueFd cached;
    std::shared_ptr<const Mount> mount;
  };

  // The last reference to an inode, or use of a cached descriptor, is gone.
  void Drop(InodeRecord& record);
  void EndUse(uint32_t cached);
  InodeUse OpenAndUse(const InodeRef& inode);

  // All of these need the mutex.
  Inode View(InodeRecord& record) { return Inode(this, &record); }
  // Null for none.
  InodeRecord* At(uint32_t index);
  InodeRecord* FindListed(uint64_t nodeid) { return At(by_nodeid_.Find(nodeid)); }
  InodeRecord* FindKnown(uint64_t nodeid);
  InodeRecord* FindByKey(const InodeKey& key) { return At(by_key_.Find(key)); }
  InodeUse UseCached(InodeRef inode);
  InodeRecord* FindLeftRoot();
  void Relist(uint32_t index);
  int Fill(InodeRecord& record, const InodeFacts& facts, const std::shared_ptr<const Mount>& mount,
           const FileHandle& handle);
  int Add(const InodeFacts& facts, const std::shared_ptr<const Mount>& mount,
          const FileHandle& handle, int held, uint64_t nodeid, InodeRecord** added);
  void Raise(InodeRecord& record);
  void EndKnown(InodeRecord& inode, Remains* remains);
  void TakeBackGiven();
  void Remember(InodeRecord& record);
  void Unlist(InodeRecord& record);
  UniqueFd Uncache(InodeRecord& record);
  void Remove(InodeRecord& record, Remains* remains);
  void Free(InodeRecord& record, Remains* remains);
  size_t CountKnown() const { return by_nodeid_.size() - state_->remembered; }

  static size_t MostInodes(const Limits& limits);

  const Limits limits_;
  DescriptorBudget& budget_;
  std::mutex mutex_;
  MountSlots mounts_;
  State* const state_;
  RecordPool<InodeRecord> records_;
  HandleStore handles_;
  GivenLog given_;
  // All that are listed, and of them all that are not replaced.
  RecordIndex<InodeRecord, ByNodeid> by_nodeid_;
  RecordIndex<InodeRecord, ByKey> by_key_;
  DescriptorCache cache_;
  bool remember_ = false;
  // See Reserve; the root's are reserved.
  uint64_t reserved_ = kRootNodeid + 1;
};

inline const std::shared_ptr<const Mount>& Inode::mount() const {
  return table_->mounts_.At(record_->mount);
}

inline FileHandle Inode::handle() const { return table_->handles_.Get(*record_); }

inline InodeRef::~InodeRef() {
  InodeRecord* record = inode_.record_;
  if (record != nullptr && record->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    inode_.table_->Drop(*record);
}

inline InodeUse::~InodeUse() {
  if (cached_ != 0) inode_->table_->EndUse(cached_);
}

}  // namespace viewfsd

#endif  // VIEWFSD_INODE_TABLE_H_
