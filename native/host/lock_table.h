// SPDX-License-Identifier: Apache-2.0
// POSIX locks that processes in the guest hold on the host's files. Each owner (a process of the
// guest) has an open file description of its own for each inode that it locks, so that the locks of
// two owners exclude each other as open file description locks (fcntl(2), F_OFD_SETLK) do.
#ifndef VIEWFSD_LOCK_TABLE_H_
#define VIEWFSD_LOCK_TABLE_H_

#include <fcntl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "host/inode_table.h"
#include "util/unique_fd.h"

namespace viewfsd {

class LockTable {
 public:
  using Description = std::shared_ptr<const UniqueFd>;

  explicit LockTable(DescriptorBudget& budget) : budget_(budget) {}

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

 private:
  struct Held {
    Description description;
    uint64_t fh;
  };

  // Of one inode: what was first locked through `fh`, or everything.
  void DropAll(uint64_t nodeid, std::optional<uint64_t> fh);

  DescriptorBudget& budget_;
  std::mutex mutex_;
  std::map<std::pair<uint64_t, uint64_t>, Held> descriptions_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_LOCK_TABLE_H_
