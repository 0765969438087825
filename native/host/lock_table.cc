// SPDX-License-Identifier: Apache-2.0
#include "host/lock_table.h"

#include <algorithm>
#include <new>

#include "session/guest_session.h"

namespace viewfsd {
namespace {

// More descriptions than a process has descriptors for.
constexpr size_t kMost = size_t{1} << 24;

// Before the record goes: whoever keeps a copy of the descriptor keeps no lock then.
void Unlock(int fd) {
  struct flock all = {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  fcntl(fd, F_OFD_SETLK, &all);
}

}  // namespace

size_t LockTable::BytesFor(size_t limit) {
  return RecordPool<LockRecord>::BytesFor(std::min(limit, kMost));
}

LockTable::LockTable(TableMemory& memory, size_t limit, DescriptorBudget& budget)
    : budget_(budget), records_(memory, std::min(limit, kMost)) {}

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
  const uint32_t index = records_.Take();
  if (index == RecordPool<LockRecord>::kNone) {
    budget_.Give(1);
    return nullptr;
  }
  LockRecord& record = *new (&records_[index]) LockRecord();
  record.nodeid = nodeid;
  record.owner = owner;
  record.fh = fh;
  record.fd = fd.get();
  record.listed.store(true, std::memory_order_release);
  auto description = std::make_shared<const UniqueFd>(std::move(fd));
  descriptions_.emplace(std::pair(nodeid, owner), Held{description, index});
  return description;
}

LockTable::Descriptions::iterator LockTable::Erase(Descriptions::iterator held) {
  LockRecord& record = records_[held->second.record];
  record.listed.store(false, std::memory_order_release);
  records_.Give(held->second.record);
  budget_.Give(1);
  return descriptions_.erase(held);
}

void LockTable::Drop(uint64_t nodeid, uint64_t owner) {
  const Description dropped = Find(nodeid, owner);
  if (dropped == nullptr) return;
  Unlock(dropped->get());
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({nodeid, owner});
  if (found != descriptions_.end() && found->second.description == dropped) Erase(found);
}

void LockTable::DropHandle(uint64_t nodeid, uint64_t fh) { DropAll(nodeid, fh); }

void LockTable::DropInode(uint64_t nodeid) { DropAll(nodeid, std::nullopt); }

void LockTable::DropAll(uint64_t nodeid, std::optional<uint64_t> fh) {
  const std::lock_guard lock(mutex_);
  auto next = descriptions_.lower_bound({nodeid, 0});
  while (next != descriptions_.end() && next->first.first == nodeid) {
    const auto held = next++;
    if (fh && records_[held->second.record].fh != *fh) continue;
    Unlock(held->second.description->get());
    Erase(held);
  }
}

void LockTable::Clear() {
  const std::lock_guard lock(mutex_);
  for (auto held = descriptions_.begin(); held != descriptions_.end();) held = Erase(held);
}

}  // namespace viewfsd
