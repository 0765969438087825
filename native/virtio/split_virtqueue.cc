// SPDX-License-Identifier: Apache-2.0
#include "virtio/split_virtqueue.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "memory/guarded_access.h"

namespace viewfsd {

static_assert(std::endian::native == std::endian::little, "the rings are little-endian");

namespace {

constexpr uint16_t kDescriptorNext = 1;
constexpr uint16_t kDescriptorWrite = 2;
constexpr uint16_t kDescriptorIndirect = 4;
constexpr uint16_t kAvailableNoInterrupt = 1;
constexpr uint16_t kUsedNoNotify = 1;

uint16_t Load16(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(at), __ATOMIC_RELAXED);
}
uint16_t Load16Acquire(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(at), __ATOMIC_ACQUIRE);
}
void Store16(uint8_t* at, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(at), value, __ATOMIC_RELAXED);
}
void Store16Release(uint8_t* at, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(at), value, __ATOMIC_RELEASE);
}

// Appends a buffer, cut where regions meet. False where it makes too many pieces.
bool AppendBuffer(const MemoryTable& table, uint64_t address, uint32_t length, iovec* pieces,
                  size_t* count) {
  uint64_t left = length;
  while (left > 0) {
    if (*count == kMaxPieces) return false;
    uint64_t contiguous = left;
    void* host = table.FromGuest(address, left, &contiguous);
    if (host == nullptr) {
      host = kBadAddress;
      contiguous = left;
    }
    pieces[(*count)++] = {host, contiguous};
    address += contiguous;
    left -= contiguous;
  }
  return true;
}

}  // namespace

void SplitVirtqueue::Configure(uint32_t size, const Addresses& addresses, bool event_idx,
                               bool indirect) {
  size_ = size;
  addresses_ = addresses;
  event_idx_ = event_idx;
  indirect_ = indirect;
}

bool SplitVirtqueue::AttachRegions(const Region* descriptors, const Region* available,
                                   const Region* used, const char** reason) {
  const auto host = [](const Region& region, uint64_t user_address) {
    return region.host() + (user_address - region.description().user_address);
  };
  uint8_t* descriptor_table = host(*descriptors, addresses_.descriptors);
  uint8_t* available_ring = host(*available, addresses_.available);
  uint8_t* used_ring = host(*used, addresses_.used);
  // Alignment per the specification; host mappings are page aligned, so this checks the guest's
  // choice.
  if (reinterpret_cast<uintptr_t>(descriptor_table) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(available_ring) % 2 != 0 ||
      reinterpret_cast<uintptr_t>(used_ring) % 4 != 0) {
    *reason = "a ring is misaligned";
    return false;
  }
  descriptors_ = descriptor_table;
  available_ = available_ring;
  used_ = used_ring;
  return true;
}

bool SplitVirtqueue::Resume(uint16_t next_available, const char** reason) {
  uint16_t used = 0;
  if (!Guarded([&] { used = Load16(used_ + 2); })) {
    *reason = "the used ring can't be read";
    return false;
  }
  next_available_ = next_available;
  next_used_ = used;
  signalled_used_ = used;
  signalled_valid_ = false;
  return true;
}

bool SplitVirtqueue::ReadChain(uint16_t head, const MemoryTable& table, DescriptorChain* chain,
                               const char** reason) const {
  if (head >= size_) {
    *reason = "a chain's head is out of the table";
    return false;
  }
  chain->head = head;
  chain->readable_count = chain->writable_count = 0;
  chain->readable_size = chain->writable_size = 0;

  const uint8_t* entries = descriptors_;
  uint32_t entry_count = size_;
  uint32_t index = head;
  bool in_indirect = false;
  bool seen_writable = false;
  size_t buffers = 0;
  for (;;) {
    Descriptor descriptor;
    memcpy(&descriptor, entries + 16 * size_t{index}, sizeof(descriptor));
    if ((descriptor.flags & kDescriptorIndirect) != 0) {
      if (!indirect_ || in_indirect || (descriptor.flags & kDescriptorNext) != 0) {
        *reason = "an indirect descriptor where none may be";
        return false;
      }
      if (descriptor.length == 0 || descriptor.length % 16 != 0 || descriptor.length / 16 > 65536) {
        *reason = "an indirect table of a wrong length";
        return false;
      }
      uint64_t contiguous = 0;
      entries = table.FromGuest(descriptor.address, descriptor.length, &contiguous);
      if (entries == nullptr || contiguous < descriptor.length) {
        *reason = "an indirect table outside of the memory table";
        return false;
      }
      entry_count = descriptor.length / 16;
      index = 0;
      in_indirect = true;
      continue;
    }
    // A loop is longer than any chain may be.
    if (buffers++ == kMaxDescriptors) {
      *reason = "a chain is too long or loops";
      return false;
    }
    const bool writable = (descriptor.flags & kDescriptorWrite) != 0;
    // An empty buffer makes no piece, but has its place in the order.
    if (!writable && seen_writable) {
      *reason = "a readable descriptor after a writable one";
      return false;
    }
    seen_writable = writable;
    const bool fits = writable ? AppendBuffer(table, descriptor.address, descriptor.length,
                                              chain->writable, &chain->writable_count)
                               : AppendBuffer(table, descriptor.address, descriptor.length,
                                              chain->readable, &chain->readable_count);
    (writable ? chain->writable_size : chain->readable_size) += descriptor.length;
    if (!fits || chain->readable_size + chain->writable_size > UINT32_MAX) {
      *reason = "a chain's buffers are too large";
      return false;
    }
    if ((descriptor.flags & kDescriptorNext) == 0) break;
    if (descriptor.next >= entry_count) {
      *reason = "a descriptor's next is out of the table";
      return false;
    }
    index = descriptor.next;
  }
  return true;
}

SplitVirtqueue::PopResult SplitVirtqueue::Pop(const MemoryTable& table, DescriptorChain* chain,
                                              const char** reason) {
  PopResult result = PopResult::kBroken;
  *reason = "a ring can't be read";
  const bool intact = Guarded([&] {
    const uint16_t available = Load16Acquire(available_ + 2);
    if (available == next_available_) {
      result = PopResult::kEmpty;
      return;
    }
    if (static_cast<uint16_t>(available - next_available_) > size_) {
      *reason = "the available index runs ahead of the ring";
      return;
    }
    const uint16_t head = Load16(available_ + 4 + 2 * (next_available_ & (size_ - 1)));
    if (!ReadChain(head, table, chain, reason)) return;
    next_available_++;
    result = PopResult::kChain;
  });
  return intact ? result : PopResult::kBroken;
}

SplitVirtqueue::PopResult SplitVirtqueue::PopAgain(uint16_t head, const MemoryTable& table,
                                                   DescriptorChain* chain, const char** reason) {
  PopResult result = PopResult::kBroken;
  *reason = "a ring can't be read";
  const bool intact = Guarded([&] {
    if (ReadChain(head, table, chain, reason)) result = PopResult::kChain;
  });
  return intact ? result : PopResult::kBroken;
}

bool SplitVirtqueue::Push(uint16_t head, uint32_t written) {
  return Guarded([&] {
    uint8_t* element = used_ + 4 + 8 * size_t{next_used_ & (size_ - 1)};
    const uint32_t id = head;
    memcpy(element, &id, 4);
    memcpy(element + 4, &written, 4);
    next_used_++;
    Store16Release(used_ + 2, next_used_);
  });
}

bool SplitVirtqueue::ShouldSignal() {
  bool wanted = false;
  // The driver may turn interrupts on after it has looked at the used index: our store of it must
  // come first.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool intact = Guarded([&] {
    if (!event_idx_) {
      wanted = (Load16(available_) & kAvailableNoInterrupt) == 0;
      return;
    }
    const uint16_t used_event = Load16(available_ + 4 + 2 * size_t{size_});
    wanted = !signalled_valid_ || static_cast<uint16_t>(next_used_ - used_event - 1) <
                                      static_cast<uint16_t>(next_used_ - signalled_used_);
  });
  signalled_used_ = next_used_;
  signalled_valid_ = true;
  return intact && wanted;
}

bool SplitVirtqueue::EnableKicks() {
  const bool intact = Guarded([&] {
    if (event_idx_)
      Store16(used_ + 4 + 8 * size_t{size_}, next_available_);
    else
      Store16(used_, 0);
  });
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return intact;
}

bool SplitVirtqueue::DisableKicks() {
  // With event_idx an avail_event that is left behind does it.
  if (event_idx_) return true;
  return Guarded([&] { Store16(used_, kUsedNoNotify); });
}

bool SplitVirtqueue::HasWork() const {
  bool work = true;
  Guarded([&] { work = Load16Acquire(available_ + 2) != next_available_; });
  return work;
}

}  // namespace viewfsd
