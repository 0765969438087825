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
#include <utility>
#include <vector>

#include "host/file_handle.h"
#include "host/freshness.h"
#include "host/mount.h"
#include "util/pointer_index.h"
#include "util/unique_fd.h"

namespace viewfsd {

// What makes two names the same inode, as long as it lives. The mount belongs to it: through a bind
// mount the same directory has other children mounted on it.
struct InodeKey {
  uint64_t device;
  uint64_t number;
  uint64_t mount;

  bool operator==(const InodeKey&) const = default;
};

// What a lookup has found out about an inode.
struct InodeFacts {
  InodeKey key;
  // S_IFMT bits; an inode never changes them.
  uint32_t type;
  // Nanoseconds since the epoch; INT64_MIN where the file system has none.
  int64_t birth;
  // The guest is told that another file system begins here.
  bool submount = false;
  // The device that the guest sees it on: that of the nearest submount above, or its own, or of the
  // share.
  uint64_t home = 0;
};

class Inode {
 public:
  Inode(uint64_t nodeid, const InodeFacts& facts, std::shared_ptr<const Mount> mount,
        FileHandle handle, UniqueFd fd)
      : nodeid_(nodeid),
        number_(facts.key.number),
        device_(facts.key.device),
        home_(facts.home),
        birth_(facts.birth),
        mount_(std::move(mount)),
        handle_(std::move(handle)),
        held_(fd.release()),
        type_(static_cast<uint16_t>(facts.type)),
        mount_root_(handle_.empty() && (nodeid == 1 || held_ < 0)),
        submount_(facts.submount) {}
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;
  ~Inode() {
    if (held_ >= 0) close(held_);
  }

  uint64_t nodeid() const { return nodeid_; }
  InodeKey key() const { return {device_, number_, mount_->id()}; }
  uint32_t type() const { return type_; }
  bool submount() const { return submount_; }
  uint64_t home() const { return home_; }
  const std::shared_ptr<const Mount>& mount() const { return mount_; }
  // Whether its mount finds it: the shared directory, or what a mount point names.
  bool is_mount_root() const { return mount_root_; }
  // Empty for an inode that holds a descriptor instead, and for one that its mount finds.
  const FileHandle& handle() const { return handle_; }
  ToldVersion& told() const { return told_; }
  // How often the guest has it open for writing; counted only where there is a memory view.
  std::atomic<uint32_t>& writers() const { return writers_; }

 private:
  friend class InodeTable;
  friend class InodeRef;

  static constexpr uint32_t kNotCached = UINT32_MAX;

  const uint64_t nodeid_;
  const uint64_t number_;
  const uint64_t device_;
  const uint64_t home_;
  const int64_t birth_;
  const std::shared_ptr<const Mount> mount_;
  const FileHandle handle_;
  mutable ToldVersion told_;
  std::atomic<uint32_t> references_{0};
  mutable std::atomic<uint32_t> writers_{0};
  // The rest is guarded by the table's mutex.
  int held_;
  uint32_t cache_place_ = kNotCached;
  const uint16_t type_;
  const bool mount_root_;
  const bool submount_;
  // An inode with the same number and birth time is this one, without asking for its handle.
  bool known_by_birth_ = false;
  // A later inode has got the number.
  bool replaced_ = false;
  uint64_t lookups_ = 1;
  // Neighbours among those that are remembered.
  Inode* older_ = nullptr;
  Inode* newer_ = nullptr;
};

class InodeRef {
 public:
  InodeRef() = default;
  explicit InodeRef(Inode* inode) : inode_(inode) {
    if (inode_ != nullptr) inode_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  InodeRef(InodeRef&& other) noexcept : inode_(std::exchange(other.inode_, nullptr)) {}
  InodeRef(const InodeRef& other) : InodeRef(other.inode_) {}
  InodeRef& operator=(InodeRef other) noexcept {
    std::swap(inode_, other.inode_);
    return *this;
  }
  ~InodeRef() {
    if (inode_ != nullptr && inode_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete inode_;
  }
  Inode* get() const { return inode_; }
  Inode& operator*() const { return *inode_; }
  Inode* operator->() const { return inode_; }
  bool operator==(std::nullptr_t) const { return inode_ == nullptr; }

 private:
  Inode* inode_ = nullptr;
};

// An inode and a descriptor of it, O_PATH, which stays open as long as this object. Or -errno.
class InodeUse {
 public:
  explicit InodeUse(int error) : fd_(error) {}
  // With the descriptor that the inode holds itself, or that the cache shares.
  InodeUse(InodeRef inode, int fd) : inode_(std::move(inode)), fd_(fd) {}
  InodeUse(InodeRef inode, std::shared_ptr<const UniqueFd> shared)
      : inode_(std::move(inode)), shared_(std::move(shared)), fd_(shared_->get()) {}

  explicit operator bool() const { return fd_ >= 0; }
  int error() const { return fd_; }
  int fd() const { return fd_; }
  const Inode& operator*() const { return *inode_; }
  const Inode* operator->() const { return inode_.get(); }
  const InodeRef& ref() const { return inode_; }

 private:
  InodeRef inode_;
  std::shared_ptr<const UniqueFd> shared_;
  int fd_;
};

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
  InodeTable(const Limits& limits, DescriptorBudget& budget);
  ~InodeTable();

  // The root stays until the table dies, whatever is forgotten, and holds its descriptor.
  void SetRoot(const InodeFacts& facts, std::shared_ptr<const Mount> mount, UniqueFd fd);

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
  int InsertAndCount(const InodeFacts& facts, std::shared_ptr<const Mount> mount, FileHandle handle,
                     UniqueFd fd, InodeRef* inode);

  // The guest has taken the last name from an inode, whose handle may go stale with the use:
  // the descriptor is held from here on. Does nothing where that can't be had.
  void Hold(const InodeUse& use);

  // Closes the descriptor that the cache has of an inode.
  void DropDescriptor(const InodeRef& inode);

  // Takes `count` from the lookup count. Too large a count, or an unknown nodeid, is the guest's
  // mistake and no error. Returns whether the inode has gone.
  bool Forget(uint64_t nodeid, uint64_t count);

  // Forgets everything but the root. Nodeids are never given out again.
  void Clear();

  // Known inodes, the root included.
  size_t size();

 private:
  struct ByNodeid {
    using Key = uint64_t;
    static Key Of(const Inode& inode) { return inode.nodeid(); }
    static uint64_t Hash(Key key) { return (key * 0x9e3779b97f4a7c15u) >> 32; }
  };
  struct ByKey {
    using Key = InodeKey;
    static Key Of(const Inode& inode) { return inode.key(); }
    static uint64_t Hash(const Key& key) {
      uint64_t hash = key.number * 0x9e3779b97f4a7c15u;
      hash ^= (key.device + (key.mount << 32)) * 0xc2b2ae3d27d4eb4fu;
      return hash ^ (hash >> 29);
    }
  };
  // A place in the clock of cached descriptors.
  struct Cached {
    Inode* inode = nullptr;
    std::shared_ptr<const UniqueFd> fd;
    bool used = false;
  };

  // All of these need the mutex.
  Inode* FindKnown(uint64_t nodeid);
  void Raise(Inode& inode);
  void Remember(Inode& inode);
  void Unlist(Inode& inode);
  std::shared_ptr<const UniqueFd> Cache(Inode& inode, std::shared_ptr<const UniqueFd> fd);
  std::shared_ptr<const UniqueFd> Uncache(Inode& inode);
  void Adopt(Inode* inode);
  std::shared_ptr<const UniqueFd> Remove(Inode* inode);
  size_t CountKnown() const { return by_nodeid_.size() - remembered_; }

  const Limits limits_;
  DescriptorBudget& budget_;
  std::mutex mutex_;
  // Each known inode is in `by_nodeid_`, which counts as one reference to it.
  PointerIndex<Inode, ByNodeid> by_nodeid_;
  PointerIndex<Inode, ByKey> by_key_;
  std::vector<Cached> cache_;
  std::vector<uint32_t> free_places_;
  size_t hand_ = 0;
  // Those that are remembered, in the order in which they were forgotten.
  bool remember_ = false;
  size_t remembered_ = 0;
  Inode* oldest_ = nullptr;
  Inode* newest_ = nullptr;
  // The most inodes since memory was given back.
  size_t peak_ = 0;
  uint64_t next_nodeid_ = kRootNodeid + 1;
};

}  // namespace viewfsd

#endif  // VIEWFSD_INODE_TABLE_H_
