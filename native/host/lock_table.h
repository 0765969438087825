// SPDX-License-Identifier: Apache-2.0
// POSIX locks that processes in the guest hold on the host's files. Each owner (a process of the
// guest) has an open file description of its own for each inode that it locks, so that the locks of
// two owners exclude each other as open file description locks (fcntl(2), F_OFD_SETLK) do.
//
// The locks themselves are the descriptions', which outlive this process in its keeper; the tables
// say which ones they are.
#ifndef VIEWFSD_LOCK_TABLE_H_
#define VIEWFSD_LOCK_TABLE_H_

#include <fcntl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "host/inode_table.h"
#include "host/record_pool.h"
#include "host/table_memory.h"
#include "util/unique_fd.h"

namespace viewfsd {

// A description as a flat record, which counts while `listed` is set.
struct LockRecord {
  uint64_t nodeid = 0;
  uint64_t owner = 0;
  // The handle through which the owner has locked first.
  uint64_t fh = 0;
  int32_t fd = -1;
  std::atomic<bool> listed = false;
};
static_assert(sizeof(LockRecord) == 32);
static_assert(std::is_trivially_destructible_v<LockRecord>);

class LockTable {
 public:
  using Description = std::shared_ptr<const UniqueFd>;

  static size_t BytesFor(size_t limit);
  // For what `limit` descriptors allow. `memory` and `budget` outlive the table.
  LockTable(TableMemory& memory, size_t limit, DescriptorBudget& budget);

  // Null where the owner has none for that inode.
  Description Find(uint64_t nodeid, uint64_t owner);
  // Where another thread was faster, its description. Null where there are too many descriptors,
  // and for a request of an older session (guest_session.h).
  // `fh`: the handle through which the owner locks first.
  Description Add(uint64_t nodeid, uint64_t owner, uint64_t fh, UniqueFd fd);
  // Closes the description, and thereby drops the locks.
  void Drop(uint64_t nodeid, uint64_t owner);
  // The handle is released. A process that had locked through it has closed it before, and lost its
  // locks then; what is left belongs to the handle itself (F_OFD_SETLK), and nobody else tells.
  void DropHandle(uint64_t nodeid, uint64_t fh);
  void DropInode(uint64_t nodeid);
  void Clear();

  // In tables that another process has left at any instant, once the inodes are taken over.
  void TakeOver(InodeTable& inodes);

  // Visits the descriptor of each description.
  template <typename Visit>
  void ForEachDescriptor(Visit visit) {
    const std::lock_guard lock(mutex_);
    records_.ForEach([&](uint32_t index) {
      if (records_[index].listed) visit(records_[index].fd);
    });
  }

 private:
  struct Held {
    Description description;
    uint32_t record;
  };
  // By nodeid and owner.
  using Descriptions = std::map<std::pair<uint64_t, uint64_t>, Held>;

  // Of one inode: what was first locked through `fh`, or everything.
  void DropAll(uint64_t nodeid, std::optional<uint64_t> fh);
  // Needs the mutex.
  Descriptions::iterator Erase(Descriptions::iterator held);

  DescriptorBudget& budget_;
  std::mutex mutex_;
  RecordPool<LockRecord> records_;
  Descriptions descriptions_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_LOCK_TABLE_H_
