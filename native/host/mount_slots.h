// SPDX-License-Identifier: Apache-2.0
// The mounts that the inodes of a table are in, by number: mounts are few, and hold names and
// descriptors. A mount keeps its slot as long as one inode is in it, or a mount that has one.
#ifndef VIEWFSD_MOUNT_SLOTS_H_
#define VIEWFSD_MOUNT_SLOTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "host/mount.h"
#include "host/mount_record.h"
#include "host/table_memory.h"

namespace viewfsd {

class MountSlots {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  static size_t BytesFor() {
    return TableMemory::BytesOf<State>(1) + TableMemory::BytesOf<MountRecord>(kMost);
  }
  explicit MountSlots(TableMemory& memory)
      : state_(memory.Reserve<State>(1)), records_(memory.Reserve<MountRecord>(kMost)) {}

  // Any thread, for a slot in which it knows an inode.
  const std::shared_ptr<const Mount>& At(uint32_t slot) const {
    return (*chunks_[slot / kPerChunk])[slot % kPerChunk].mount;
  }

  // These need the table's mutex.

  // One more inode is in the mount. Returns its slot; kNone where there are too many mounts.
  uint32_t Enter(const std::shared_ptr<const Mount>& mount);
  // One less. Returns the mount where that was the last one, to be dropped after the lock is gone.
  std::shared_ptr<const Mount> Leave(uint32_t slot);
  // The mount is found there from now on. Returns what is to be dropped after the lock is gone.
  std::shared_ptr<const Mount> Move(const Mount& mount, MountPoint point);

  // What another process has left at any instant, before the inodes are taken over, which enter
  // their mounts again; then DropUnused. `share`: this process's own, in its slot.
  void TakeOver(uint32_t slot, const std::shared_ptr<const Mount>& share);
  void DropUnused();
  // Whether a mount has that slot.
  bool Has(uint32_t slot) const { return slot < used() && At(slot) != nullptr; }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (uint32_t slot = 0; slot < used(); slot++)
      if (At(slot) != nullptr) visit(At(slot));
  }
  // Visits the descriptor of each mount point that has one.
  template <typename Visit>
  void ForEachDescriptor(Visit visit) const {
    for (uint32_t slot = 0; slot < used(); slot++) {
      const MountPointRecord* const point = records_[slot].point.Get();
      if (records_[slot].listed && point != nullptr && point->fd >= 0) visit(point->fd);
    }
  }

 private:
  static constexpr size_t kPerChunk = 128;
  static constexpr size_t kMostChunks = 1024;
  // More than a mount namespace has by default (fs.mount-max).
  static constexpr uint32_t kMost = kPerChunk * kMostChunks;

  struct State {
    // Slots that have ever been used.
    uint32_t used;
  };
  struct Slot {
    std::shared_ptr<const Mount> mount;
    // And mounts.
    uint64_t inodes = 0;
  };
  using Chunk = std::array<Slot, kPerChunk>;

  Slot& Of(uint32_t slot) { return (*chunks_[slot / kPerChunk])[slot % kPerChunk]; }
  uint32_t used() const { return state_->used < kMost ? state_->used : kMost; }
  uint32_t FindFree();
  bool Restore(uint32_t slot, int depth);
  void Put(uint32_t slot, const MountPoint& point, uint32_t above);

  State* const state_;
  MountRecord* const records_;
  // Stay where they are: other threads look into them.
  std::array<std::unique_ptr<Chunk>, kMostChunks> chunks_;
  std::vector<uint32_t> free_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_MOUNT_SLOTS_H_
