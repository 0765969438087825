// SPDX-License-Identifier: Apache-2.0
// The driver's side of split virtqueues in shared memory (virtio 1.2, section 2.7), as Linux has
// it: one indirect descriptor a request, event indexes.
#ifndef VIEWFSD_BENCH_RING_H_
#define VIEWFSD_BENCH_RING_H_

// Its inline functions are no C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace viewfsd::bench {

// One memfd. Its offsets are the guest-physical addresses.
class GuestRam {
 public:
  explicit GuestRam(size_t size);
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;

  // Zeroed, at a multiple of `alignment`, for the life of the object. Ends the program where there
  // is no room left.
  uint8_t* Allocate(size_t size, size_t alignment);
  uint64_t AddressOf(const void* at) const {
    return static_cast<uint64_t>(static_cast<const uint8_t*>(at) - base_);
  }
  uint8_t* At(uint64_t address) const { return base_ + address; }
  int fd() const { return fd_; }
  size_t size() const { return size_; }

 private:
  const size_t size_;
  int fd_;
  uint8_t* base_;
  size_t used_ = 0;
};

// Of `kSize` entries. The event indexes stand behind the rings (virtio 1.2, 2.7.6 and 2.7.8).
struct Layout {
  static constexpr uint16_t kSize = 128;
  vring_desc descriptors[kSize];
  uint16_t available_flags;
  uint16_t available_index;
  uint16_t available[kSize];
  uint16_t used_event;
  alignas(4) uint16_t used_flags;
  uint16_t used_index;
  vring_used_elem used[kSize];
  uint16_t available_event;
};

// Whether an index that went from `before` to `now` has passed `event`.
inline bool Passed(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

struct Segment {
  void* at;
  uint32_t size;
  bool writable;
};

class Ring {
 public:
  static constexpr uint16_t kSize = Layout::kSize;
  // Descriptors of one request: 1 MiB in pages, and headers.
  static constexpr size_t kMaxSegments = 260;

  explicit Ring(GuestRam* ram);

  // Makes a request available whose head is `head`; no other with this head may be on its way.
  void Add(uint16_t head, std::span<const Segment> segments);
  // Kicks the device where it wants that for what has been added since the last call.
  void Kick();
  // Takes a completed request. False where there is none.
  bool TakeUsed(uint16_t* head, uint32_t* written);
  // Whether the device shall signal the next completion. Returns false where there is one already.
  bool EnableSignals();
  void DisableSignals();
  // Sleeps until the device signals a completion, which may be there already, or for so many
  // milliseconds; -1 for ever.
  void Wait(int milliseconds);

  Layout* layout() const { return layout_; }
  int kick() const { return kick_; }
  int call() const { return call_; }

 private:
  GuestRam* const ram_;
  Layout* const layout_;
  vring_desc* tables_;
  int kick_;
  int call_;
  uint16_t available_ = 0;
  uint16_t kicked_ = 0;
  uint16_t used_ = 0;
};

template <typename T>
T Acquire(const T& value) {
  return std::atomic_ref(const_cast<T&>(value)).load(std::memory_order_acquire);
}
template <typename T>
void Release(T* place, T value) {
  std::atomic_ref(*place).store(value, std::memory_order_release);
}

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_RING_H_
