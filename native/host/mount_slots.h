// SPDX-License-Identifier: Apache-2.0
// The mounts that the inodes of a table are in, by number: mounts are few, and hold names and
// descriptors. A mount keeps its slot as long as one inode is in it.
#ifndef VIEWFSD_MOUNT_SLOTS_H_
#define VIEWFSD_MOUNT_SLOTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "host/mount.h"

namespace viewfsd {

class MountSlots {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Any thread, for a slot in which it knows an inode.
  const std::shared_ptr<const Mount>& At(uint32_t slot) const {
    return (*chunks_[slot / kPerChunk])[slot % kPerChunk].mount;
  }

  // These need the table's mutex.

  // One more inode is in the mount. Returns its slot; kNone where there are too many mounts.
  uint32_t Enter(const std::shared_ptr<const Mount>& mount) {
    if (mount->slot_ == kNone) {
      const uint32_t free = FindFree();
      if (free == kNone) return kNone;
      mount->slot_ = free;
      Of(free).mount = mount;
    }
    ++Of(mount->slot_).inodes;
    return mount->slot_;
  }

  // One less. Returns the mount where that was the last one, to be dropped after the lock is gone.
  std::shared_ptr<const Mount> Leave(uint32_t slot) {
    if (--Of(slot).inodes > 0) return nullptr;
    free_.push_back(slot);
    Of(slot).mount->slot_ = kNone;
    return std::move(Of(slot).mount);
  }

 private:
  // More than a mount namespace has by default (fs.mount-max).
  static constexpr size_t kPerChunk = 128;
  static constexpr size_t kMostChunks = 1024;

  struct Slot {
    std::shared_ptr<const Mount> mount;
    uint64_t inodes = 0;
  };
  using Chunk = std::array<Slot, kPerChunk>;

  Slot& Of(uint32_t slot) { return (*chunks_[slot / kPerChunk])[slot % kPerChunk]; }

  uint32_t FindFree() {
    if (free_.empty()) {
      if (used_ == kPerChunk * kMostChunks) return kNone;
      // Chunks stay where they are: other threads look into them.
      if (used_ % kPerChunk == 0) chunks_[used_ / kPerChunk] = std::make_unique<Chunk>();
      return used_++;
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  std::array<std::unique_ptr<Chunk>, kMostChunks> chunks_;
  std::vector<uint32_t> free_;
  uint32_t used_ = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_MOUNT_SLOTS_H_
