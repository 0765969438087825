// SPDX-License-Identifier: Apache-2.0
// Tables that another process has left, which may have ended within any instruction. What counts is
// in the records that are listed, or have an fh; all else is made anew from these. Descriptors are
// the same numbers here. To be ended in the middle of this does no harm: the next one begins again.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <utility>

#include "host/directory_record.h"
#include "host/handle_table.h"
#include "host/inode_table.h"
#include "host/shared_directory.h"

namespace viewfsd {

int MayTakeOver(int file, const DirectoryLimits& limits) {
  struct Header {
    uint32_t version;
    uint32_t generation;
    DirectoryLimits limits;
  } header;
  static_assert(offsetof(Header, limits) == offsetof(DirectoryRecord, limits));
  struct stat status;
  const ssize_t got = pread(file, &header, sizeof(header), 0);
  if (got < 0 || fstat(file, &status) < 0) return -errno;
  if (got < ssize_t{sizeof(header)}) return -EPROTO;
  if (header.version == 0) return -ENODATA;
  const bool same = header.version == DirectoryRecord::kVersion && header.limits == limits &&
                    status.st_size == static_cast<off_t>(SharedDirectory::BytesFor(limits));
  return same ? 0 : -EPROTO;
}

InodeRecord* InodeTable::FindLeftRoot() {
  InodeRecord* root = nullptr;
  records_.ForEach([&](uint32_t index) {
    InodeRecord& record = records_[index];
    if (record.listed && record.nodeid == kRootNodeid) root = &record;
  });
  return root;
}

// Of requests that will be served once more.
void InodeTable::TakeBackGiven() {
  given_.ForEachUnderWay([&](GivenRecord& given) {
    InodeRecord* const record = records_.Has(given.index) ? &records_[given.index] : nullptr;
    if (given.state == GivenRecord::kForgotten) return;
    if (record != nullptr && record->listed && record->nodeid == given.what) {
      if (given.state == GivenRecord::kRaised) {
        given.before = record->lookups;
        GivenLog::Set(&given, GivenRecord::kLowering);
      }
      const bool raised = given.state == GivenRecord::kLowering && given.before > 0;
      record->lookups = given.before - (raised ? 1 : 0);
    }
    GivenLog::Set(&given, GivenRecord::kNone);
  });
}

void InodeTable::Relist(uint32_t index) {
  InodeRecord& record = records_[index];
  const bool root = record.nodeid == kRootNodeid;
  record.mount = mounts_.Enter(mounts_.At(record.mount));
  record.references.store(1, std::memory_order_relaxed);
  record.cached = DescriptorCache::kNone;
  record.writers = 0;
  record.older = record.newer = 0;
  if (record.held >= 0 && !root) budget_.Take();
  by_nodeid_.Insert(index);
  if (!record.replaced) by_key_.Insert(index);
  if (record.lookups == 0) Remember(record);
  state_->nodeids = std::max(state_->nodeids, record.nodeid - kRootNodeid);
}

int InodeTable::TakeOver(const InodeFacts& facts, const std::shared_ptr<const Mount>& mount,
                         UniqueFd fd, bool remember) {
  const std::lock_guard lock(mutex_);
  InodeRecord* const root = FindLeftRoot();
  if (root == nullptr || root->device != facts.key.device || root->number != facts.key.number)
    return -ESTALE;
  remember_ = remember;
  mounts_.TakeOver(root->mount, mount);
  TakeBackGiven();
  records_.TakeOver([&](uint32_t index) {
    InodeRecord& record = records_[index];
    if (!record.listed) return false;
    // A FORGET was under way, or what would have told the guest of it.
    const bool forgotten =
        record.lookups == 0 && (!remember || record.held >= 0 || record.replaced);
    if (!forgotten && mounts_.Has(record.mount)) return true;
    record.listed.store(false, std::memory_order_release);
    if (record.held >= 0) close(record.held);
    return false;
  });
  handles_.TakeOver(records_);
  cache_.TakeOver();
  by_nodeid_.Clear();
  by_key_.Clear();
  state_->oldest = state_->newest = state_->remembered = 0;
  // The one that was there may be of a mount that nobody else is in any more.
  root->held = fd.release();
  records_.ForEach([&](uint32_t index) { Relist(index); });
  mounts_.DropUnused();
  return 0;
}

void LockTable::TakeOver(InodeTable& inodes) {
  const std::lock_guard lock(mutex_);
  records_.TakeOver([&](uint32_t index) {
    LockRecord& record = records_[index];
    if (!record.listed || inodes.Get(record.nodeid) != nullptr) return record.listed.load();
    // Its inode had just been forgotten.
    record.listed.store(false, std::memory_order_release);
    close(record.fd);
    return false;
  });
  records_.ForEach([&](uint32_t index) {
    const LockRecord& record = records_[index];
    budget_.Take();
    descriptions_.emplace(std::pair(record.nodeid, record.owner),
                          Held{std::make_shared<const UniqueFd>(record.fd), index});
  });
}

void HandleTable::TakeOver(InodeTable& inodes) {
  const std::lock_guard lock(mutex_);
  std::unordered_set<uint64_t> untold;
  given_.ForEachUnderWay([&](const GivenRecord& given) { untold.insert(given.what); });
  records_.TakeOver([&](uint32_t index) {
    HandleRecord& handle = records_[index];
    if (handle.fh == 0 || !untold.contains(handle.fh)) return handle.fh != 0;
    handle.fh.store(0, std::memory_order_release);
    close(handle.fd);
    return false;
  });
  by_fh_.Clear();
  records_.ForEach([&](uint32_t index) {
    HandleRecord& handle = records_[index];
    handle.references.store(1, std::memory_order_relaxed);
    budget_.Take();
    by_fh_.Insert(index);
    if (handle.kind == HandleKind::kDirectory) {
      auto stream = std::make_unique<DirectoryStream>();
      // The descriptor stands wherever the last READDIR has left it.
      stream->offset.reset();
      PutStream(index, std::move(stream));
    }
    if (!handle.writes) return;
    if (const InodeRef inode = inodes.Get(handle.nodeid); inode != nullptr) inode->writers()++;
  });
}

}  // namespace viewfsd
