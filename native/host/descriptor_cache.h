// SPDX-License-Identifier: Apache-2.0
// The descriptors of inodes with handles that were used last: O_PATH, by place. A descriptor that
// leaves the cache while it is in use is closed by the last user.
//
// All needs the inode table's mutex, but for EndUse.
#ifndef VIEWFSD_DESCRIPTOR_CACHE_H_
#define VIEWFSD_DESCRIPTOR_CACHE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "host/record_pool.h"
#include "host/table_memory.h"
#include "util/unique_fd.h"

namespace viewfsd {

struct CachedDescriptor {
  // 0 where it has left the cache and is in use still, or the place is free.
  uint32_t inode;
  int32_t fd;
  // The cache's own and one for each use.
  std::atomic<uint32_t> references;
  // Since the hand came by last.
  uint32_t used;
};
static_assert(sizeof(CachedDescriptor) == 16);

class DescriptorCache {
 public:
  static constexpr uint32_t kNone = RecordPool<CachedDescriptor>::kNone;

  static constexpr size_t BytesFor(size_t limit) {
    return RecordPool<CachedDescriptor>::BytesFor(limit);
  }
  // Places are taken as they are needed, `limit` at most.
  DescriptorCache(TableMemory& memory, size_t limit)
      : limit_(static_cast<uint32_t>(limit)), places_(memory, limit) {}

  struct Added {
    // kNone where all descriptors are in use: then this one has to be closed after its use.
    uint32_t place = kNone;
    // The inode that has lost its place, or 0, and its descriptor.
    uint32_t evicted = 0;
    UniqueFd closed;
  };
  // The caller uses the descriptor; the cache owns it. `stays`: it will be used again.
  Added Add(uint32_t inode, int fd, bool stays);

  // One more use.
  int Use(uint32_t place) {
    CachedDescriptor& cached = places_[place];
    cached.used = 1;
    cached.references.fetch_add(1, std::memory_order_relaxed);
    return cached.fd;
  }
  // A use has ended. True where Free has to be called.
  bool EndUse(uint32_t place) {
    return places_[place].references.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

  // Takes a descriptor out. It is to be closed if it is not in use.
  UniqueFd Remove(uint32_t place) {
    places_[place].inode = 0;
    return EndUse(place) ? Free(place) : UniqueFd();
  }
  // Of what another process has left nothing is sure; its descriptors are nobody's.
  void TakeOver() {
    places_.TakeOver([](uint32_t) { return false; });
  }
  UniqueFd Free(uint32_t place) {
    UniqueFd closed(places_[place].fd);
    places_.Give(place);
    --count_;
    return closed;
  }

 private:
  void Fill(uint32_t place, uint32_t inode, int fd, bool stays) {
    CachedDescriptor& cached = places_[place];
    cached.inode = inode;
    cached.fd = fd;
    cached.used = stays ? 1 : 0;
    cached.references.store(2, std::memory_order_relaxed);
  }

  const uint32_t limit_;
  RecordPool<CachedDescriptor> places_;
  // Places that are taken, and the end of all that ever were.
  uint32_t count_ = 0;
  uint32_t end_ = 1;
  // The place that the clock's hand is at.
  uint32_t hand_ = 1;
};

inline DescriptorCache::Added DescriptorCache::Add(uint32_t inode, int fd, bool stays) {
  Added added;
  if (count_ < limit_) {
    added.place = places_.Take();
    ++count_;
    end_ = std::max(end_, added.place + 1);
    Fill(added.place, inode, fd, stays);
    return added;
  }
  if (limit_ == 0) return added;
  // Twice around: after the first time nobody counts as used.
  for (uint32_t step = 0; step < 2 * end_; step++) {
    const uint32_t place = hand_;
    hand_ = hand_ + 1 == end_ ? 1 : hand_ + 1;
    if (!places_.IsTaken(place)) continue;
    CachedDescriptor& cached = places_[place];
    if (cached.inode == 0 || cached.references.load(std::memory_order_acquire) > 1) continue;
    if (cached.used != 0) {
      cached.used = 0;
      continue;
    }
    added.place = place;
    added.evicted = cached.inode;
    added.closed.reset(cached.fd);
    Fill(place, inode, fd, stays);
    return added;
  }
  return added;
}

}  // namespace viewfsd

#endif  // VIEWFSD_DESCRIPTOR_CACHE_H_
