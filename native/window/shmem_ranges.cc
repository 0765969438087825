// SPDX-License-Identifier: Apache-2.0
#include "window/shmem_ranges.h"

namespace viewfsd {

bool ShmemRanges::Overlaps(uint64_t moffset, uint64_t length) const {
  const auto after = ranges_.lower_bound(moffset);
  if (after != ranges_.end() && after->first < moffset + length) return true;
  if (after == ranges_.begin()) return false;
  const ShmemRange& before = std::prev(after)->second;
  return before.moffset + before.length > moffset;
}

ShmemRanges::Verdict ShmemRanges::Judge(const ShmemRange& wanted) const {
  const auto found = ranges_.find(wanted.moffset);
  if (found != ranges_.end()) {
    const ShmemRange& have = found->second;
    if (have.length == wanted.length && have.device == wanted.device &&
        have.inode == wanted.inode && have.foffset == wanted.foffset &&
        (have.writable || !wanted.writable))
      return Verdict::kPresent;
  }
  return Overlaps(wanted.moffset, wanted.length) ? Verdict::kConflict : Verdict::kMap;
}

void ShmemRanges::Insert(const ShmemRange& range) { ranges_.emplace(range.moffset, range); }

void ShmemRanges::Erase(uint64_t moffset) { ranges_.erase(moffset); }

bool ShmemRanges::Covered(uint64_t moffset, uint64_t length,
                          std::vector<ShmemRange>* covered) const {
  covered->clear();
  auto at = ranges_.lower_bound(moffset);
  if (at != ranges_.begin()) {
    const ShmemRange& before = std::prev(at)->second;
    if (before.moffset + before.length > moffset) return false;
  }
  for (; at != ranges_.end() && at->first < moffset + length; ++at) {
    if (at->first + at->second.length > moffset + length) {
      covered->clear();
      return false;
    }
    covered->push_back(at->second);
  }
  return true;
}

bool ShmemRanges::Shows(dev_t device, ino_t inode) const {
  for (const auto& [moffset, range] : ranges_)
    if (range.device == device && range.inode == inode) return true;
  return false;
}

}  // namespace viewfsd
