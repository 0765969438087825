// SPDX-License-Identifier: Apache-2.0
// The device's side of a split virtqueue (virtio 1.3, section 2.7). No locks, no threads: one user
// at a time.
//
//   descriptor table   {addr, len, flags, next} x size          driver -> device
//   available ring     flags, idx, ring[size], used_event       driver -> device
//   used ring          flags, idx, {id, len}[size], avail_event device -> driver
//
// Everything that the driver writes is read once into a local and then checked.
#ifndef VIEWFSD_SPLIT_VIRTQUEUE_H_
#define VIEWFSD_SPLIT_VIRTQUEUE_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "memory/guest_buffers.h"
#include "memory/guest_memory.h"

namespace viewfsd {

// The most descriptors in one chain (as QEMU), and the pieces that they may be cut into where
// regions meet.
constexpr size_t kMaxDescriptors = 1024;
constexpr size_t kMaxPieces = kMaxDescriptors + 64;

// One request: where its bytes are in this process.
struct DescriptorChain {
  uint16_t head = 0;
  size_t readable_count = 0;
  size_t writable_count = 0;
  uint64_t readable_size = 0;
  uint64_t writable_size = 0;
  iovec readable[kMaxPieces];
  iovec writable[kMaxPieces];

  GuestBuffers ReadableBuffers() const { return {readable, readable_count, readable_size}; }
  GuestBuffers WritableBuffers() const { return {writable, writable_count, writable_size}; }
};

class SplitVirtqueue {
 public:
  static constexpr uint32_t kMaxSize = 32768;

  // Where the frontend says that the rings are, in its own address space.
  struct Addresses {
    uint64_t descriptors = 0;
    uint64_t available = 0;
    uint64_t used = 0;
  };

  enum class PopResult { kEmpty, kChain, kBroken };

  // `size` is a power of two up to kMaxSize.
  void Configure(uint32_t size, const Addresses& addresses, bool event_idx, bool indirect);
  // Finds the rings in a new table. False, with `*reason`, where they are not there; then it stays
  // with the table before. The table must outlive the use. `is_window` tells whether a region is
  // (part of) a DAX window, where rings are refused.
  template <typename IsWindow>
  bool Attach(const MemoryTable& table, const IsWindow& is_window, const char** reason);
  // Takes over from the used ring, where the device stood when it stopped last.
  bool Resume(uint16_t next_available, const char** reason);

  // On kBroken `*reason` says what the ring did.
  PopResult Pop(const MemoryTable& table, DescriptorChain* chain, const char** reason);
  // The same for a chain that has been taken before, by whoever had the ring then; never kEmpty.
  PopResult PopAgain(uint16_t head, const MemoryTable& table, DescriptorChain* chain,
                     const char** reason);
  // Makes the chain that Pop gave last the next one again, unless it was pushed.
  void Unpop() { next_available_--; }
  // False where the used ring can't be written any more.
  bool Push(uint16_t head, uint32_t written);
  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool ShouldSignal();
  // Ask for kicks, or tell that none is needed. Both false on a fault.
  bool EnableKicks();
  bool DisableKicks();
  // Whether there is something to pop; true also where looking failed, so that Pop reports it.
  bool HasWork() const;

  uint16_t next_available() const { return next_available_; }
  // What the device writes to.
  const uint8_t* used_ring() const { return used_; }
  size_t used_bytes() const { return UsedBytes(); }
  void set_next_available(uint16_t next) { next_available_ = next; }
  // Of the next element of the used ring.
  uint16_t next_used() const { return next_used_; }

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };

  // Within Guarded. False, with `*reason`, where the chain lies.
  bool ReadChain(uint16_t head, const MemoryTable& table, DescriptorChain* chain,
                 const char** reason) const;
  bool AttachRegions(const Region* descriptors, const Region* available, const Region* used,
                     const char** reason);
  size_t AvailableBytes() const { return 6 + 2 * size_t{size_}; }
  size_t UsedBytes() const { return 6 + 8 * size_t{size_}; }

  uint32_t size_ = 0;
  Addresses addresses_;
  bool event_idx_ = false;
  bool indirect_ = false;
  const uint8_t* descriptors_ = nullptr;
  uint8_t* available_ = nullptr;
  uint8_t* used_ = nullptr;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  // The used index at the last ShouldSignal.
  uint16_t signalled_used_ = 0;
  bool signalled_valid_ = false;
};

template <typename IsWindow>
bool SplitVirtqueue::Attach(const MemoryTable& table, const IsWindow& is_window,
                            const char** reason) {
  const Region* descriptors = table.FindUser(addresses_.descriptors, 16 * size_t{size_});
  const Region* available = table.FindUser(addresses_.available, AvailableBytes());
  const Region* used = table.FindUser(addresses_.used, UsedBytes());
  if (descriptors == nullptr || available == nullptr || used == nullptr) {
    *reason = "a ring lies outside of the memory table";
    return false;
  }
  if (is_window(*descriptors) || is_window(*available) || is_window(*used)) {
    *reason = "a ring lies in a DAX window";
    return false;
  }
  return AttachRegions(descriptors, available, used, reason);
}

}  // namespace viewfsd

#endif  // VIEWFSD_SPLIT_VIRTQUEUE_H_
