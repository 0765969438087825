// SPDX-License-Identifier: Apache-2.0
// The guest's memory as the frontend describes it: regions that map guest-physical addresses (GPA)
// and the frontend's own virtual addresses (UVA, used for ring addresses only) to this process
// (HVA).
//
//   GPA  ──┐
//          ├─ Region (one mmap of the frontend's fd) ──> HVA
//   UVA  ──┘
//
// A MemoryTable never changes; GuestMemory publishes a new one for every change. Whoever uses one
// holds it by shared_ptr, and the last user of a region unmaps it.
#ifndef VIEWFSD_GUEST_MEMORY_H_
#define VIEWFSD_GUEST_MEMORY_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace viewfsd {

// As in vhost-user's memory region description; all in bytes.
struct RegionDescription {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t mmap_offset;
};

class Region {
 public:
  // Maps the region. `fd` stays the caller's. RAM must exist; a DAX window's file may have been
  // truncated since it was mapped (`may_be_short`). On failure returns null and sets `*error` to an
  // errno.
  static std::shared_ptr<const Region> Map(const RegionDescription& description, int fd,
                                           bool may_be_short, int* error);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  const RegionDescription& description() const { return description_; }
  uint8_t* host() const { return host_; }
  dev_t device() const { return device_; }
  ino_t inode() const { return inode_; }

 private:
  Region() = default;

  RegionDescription description_ = {};
  uint8_t* host_ = nullptr;
  void* map_base_ = nullptr;
  size_t map_size_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

class MemoryTable {
 public:
  // Takes regions that don't overlap in guest-physical space; see Check.
  explicit MemoryTable(std::vector<std::shared_ptr<const Region>> regions);

  // 0, or EINVAL where a description is empty, misaligned, wraps around or overlaps another in
  // either address space.
  static int Check(const std::vector<RegionDescription>& descriptions);

  const std::vector<std::shared_ptr<const Region>>& regions() const { return regions_; }

  // The host address of a guest-physical one, and in `*contiguous` how many of the `size` bytes
  // follow it there. Null where no region holds the address.
  uint8_t* FromGuest(uint64_t guest_address, uint64_t size, uint64_t* contiguous) const;
  // The guest-physical address of a host one, which lies in one of the regions; false where it does
  // not.
  bool ToGuest(const uint8_t* host, uint64_t* guest_address) const;
  // The region that holds all of [user_address, user_address + size), or null.
  const Region* FindUser(uint64_t user_address, uint64_t size) const;
  // Whether regions of this very file hold all of its bytes [0, size).
  bool HoldsFile(dev_t device, ino_t inode, uint64_t size) const;

 private:
  // Sorted by guest address.
  std::vector<std::shared_ptr<const Region>> regions_;
};

using Snapshot = std::shared_ptr<const MemoryTable>;

class GuestMemory {
 public:
  // `is_window` tells a DAX window's files.
  explicit GuestMemory(std::function<bool(dev_t, ino_t)> is_window);

  // Replaces the whole table. Regions that the new one describes as the old did are kept, not
  // mapped again. `fds[i]` belongs to `descriptions[i]` and stays the caller's. Returns 0 or an
  // errno; on error nothing changes.
  int SetTable(const std::vector<RegionDescription>& descriptions, const std::vector<int>& fds);
  int AddRegion(const RegionDescription& description, int fd);
  // Matches guest address, size and user address. ENOENT where there is no such region.
  int RemoveRegion(const RegionDescription& description);
  void Clear();

  // With the number of its generation.
  Snapshot Get(uint64_t* generation = nullptr) const;
  // Changes with every new table; cheap to poll.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // Waits until `holds(table)`, `interrupted()` or the deadline. Returns 0, EINTR or ETIMEDOUT.
  int WaitFor(const std::function<bool(const MemoryTable&)>& holds,
              std::chrono::steady_clock::time_point deadline,
              const std::function<bool()>& interrupted) const;
  // The same, for a table that holds all of [0, size) of a file.
  int WaitForFile(dev_t device, ino_t inode, uint64_t size,
                  std::chrono::steady_clock::time_point deadline,
                  const std::function<bool()>& interrupted) const;
  // Makes waiters look at `interrupted()` again.
  void WakeWaiters();

 private:
  void Publish(std::vector<std::shared_ptr<const Region>> regions);

  const std::function<bool(dev_t, ino_t)> is_window_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Snapshot table_;  // guarded by mutex_
  std::atomic<uint64_t> generation_{1};
};

}  // namespace viewfsd

#endif  // VIEWFSD_GUEST_MEMORY_H_
