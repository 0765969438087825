// SPDX-License-Identifier: Apache-2.0
#include "host/lock_table.h"

#include "session/guest_session.h"

namespace viewfsd {

LockTable::Description LockTable::Find(uint64_t nodeid, uint64_t owner) {
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({nodeid, owner});
  return found == descriptions_.end() ? nullptr : found->second.description;
}

LockTable::Description LockTable::Add(uint64_t nodeid, uint64_t owner, uint64_t fh, UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({nodeid, owner});
  if (found != descriptions_.end()) return found->second.description;
  if (!InPresentSession() || !budget_.Take()) return nullptr;
  auto description = std::make_shared<const UniqueFd>(std::move(fd));
  descriptions_.emplace(std::pair(nodeid, owner), Held{description, fh});
  return description;
}

void LockTable::Drop(uint64_t nodeid, uint64_t owner) {
  Description dropped;
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({nodeid, owner});
  if (found == descriptions_.end()) return;
  dropped = std::move(found->second.description);
  descriptions_.erase(found);
  budget_.Give(1);
}

void LockTable::DropHandle(uint64_t nodeid, uint64_t fh) { DropAll(nodeid, fh); }

void LockTable::DropInode(uint64_t nodeid) { DropAll(nodeid, std::nullopt); }

void LockTable::DropAll(uint64_t nodeid, std::optional<uint64_t> fh) {
  const std::lock_guard lock(mutex_);
  auto next = descriptions_.lower_bound({nodeid, 0});
  while (next != descriptions_.end() && next->first.first == nodeid) {
    const auto held = next++;
    if (fh && held->second.fh != *fh) continue;
    descriptions_.erase(held);
    budget_.Give(1);
  }
}

void LockTable::Clear() {
  const std::lock_guard lock(mutex_);
  budget_.Give(descriptions_.size());
  descriptions_.clear();
}

}  // namespace viewfsd
