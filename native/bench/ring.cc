// SPDX-License-Identifier: Apache-2.0
#include "bench/ring.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/fail.h"

namespace viewfsd::bench {

GuestRam::GuestRam(size_t size) : size_(size), fd_(memfd_create("guest", MFD_CLOEXEC)) {
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(size)) < 0) Fail("memfd");
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
  if (at == MAP_FAILED) Fail("mapping guest memory");
  base_ = static_cast<uint8_t*>(at);
}

uint8_t* GuestRam::Allocate(size_t size, size_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  uint8_t* at = base_ + used_;
  used_ += size;
  if (used_ > size_) Fail("guest memory is too small");
  return at;
}

Ring::Ring(GuestRam* ram)
    : ram_(ram),
      layout_(reinterpret_cast<Layout*>(ram->Allocate(sizeof(Layout), 4096))),
      kick_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      call_(eventfd(0, EFD_CLOEXEC)) {
  if (kick_ < 0 || call_ < 0) Fail("eventfd");
  tables_ = reinterpret_cast<vring_desc*>(
      ram->Allocate(kSize * kMaxSegments * sizeof(vring_desc), sizeof(vring_desc)));
}

void Ring::Add(uint16_t head, std::span<const Segment> segments) {
  vring_desc* table = tables_ + size_t{head} * kMaxSegments;
  for (size_t i = 0; i < segments.size(); i++) {
    const bool last = i + 1 == segments.size();
    const int flags =
        (segments[i].writable ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT);
    table[i] = {ram_->AddressOf(segments[i].at), segments[i].size, static_cast<uint16_t>(flags),
                static_cast<uint16_t>(last ? 0 : i + 1)};
  }
  layout_->descriptors[head] = {ram_->AddressOf(table),
                                static_cast<uint32_t>(segments.size() * sizeof(vring_desc)),
                                VRING_DESC_F_INDIRECT, 0};
  layout_->available[available_ % kSize] = head;
  Release(&layout_->available_index, ++available_);
}

void Ring::Kick() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint16_t event = Acquire(layout_->available_event);
  const bool wanted = Passed(event, available_, kicked_);
  kicked_ = available_;
  if (wanted && eventfd_write(kick_, 1) < 0) Fail("kick");
}

bool Ring::TakeUsed(uint16_t* head, uint32_t* written) {
  if (Acquire(layout_->used_index) == used_) return false;
  const vring_used_elem element = layout_->used[used_++ % kSize];
  if (element.id >= kSize) Fail("the device has completed a request that there is not");
  *head = static_cast<uint16_t>(element.id);
  *written = element.len;
  return true;
}

bool Ring::EnableSignals() {
  Release(&layout_->used_event, used_);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return Acquire(layout_->used_index) == used_;
}

void Ring::Wait(int milliseconds) {
  if (!EnableSignals()) return;
  pollfd polled = {call_, POLLIN, 0};
  eventfd_t count;
  const int ready = poll(&polled, 1, milliseconds);
  if (ready < 0 || (ready > 0 && eventfd_read(call_, &count) < 0)) Fail("waiting for a completion");
}

void Ring::DisableSignals() {
  // As far away as it gets.
  Release(&layout_->used_event, static_cast<uint16_t>(used_ - 1));
}

}  // namespace viewfsd::bench
