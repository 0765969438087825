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

// `mount` is entered once for each inode, as it was by its lookup.
void InodeTable::Relist(uint32_t index, const std::shared_ptr<const Mount>& mount) {
  InodeRecord& record = records_[index];
  const bool root = record.nodeid == kRootNodeid;
  record.mount = mounts_.Enter(mount);
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
  const uint32_t share = root->mount;
  remember_ = remember;
  records_.TakeOver([&](uint32_t index) {
    InodeRecord& record = records_[index];
    if (!record.listed) return false;
    // A FORGET was under way, or the mount is one that was found by what is not in the tables.
    const bool forgotten =
        record.lookups == 0 && (!remember || record.held >= 0 || record.replaced);
    if (forgotten || record.mount != share) record.listed.store(false, std::memory_order_release);
    return record.listed.load();
  });
  handles_.TakeOver(records_);
  cache_.TakeOver();
  by_nodeid_.Clear();
  by_key_.Clear();
  state_->oldest = state_->newest = state_->remembered = 0;
  // The one that was there may be of a mount that nobody else is in any more.
  root->held = fd.release();
  records_.ForEach([&](uint32_t index) { Relist(index, mount); });
  return 0;
}

void HandleTable::TakeOver(InodeTable& inodes) {
  const std::lock_guard lock(mutex_);
  records_.TakeOver([&](uint32_t index) { return records_[index].fh != 0; });
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
