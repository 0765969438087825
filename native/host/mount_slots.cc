// SPDX-License-Identifier: Apache-2.0
#include "host/mount_slots.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace viewfsd {
namespace {

// More mounts than anybody mounts one in the other.
constexpr int kDeepest = 1000;

}  // namespace

uint32_t MountSlots::FindFree() {
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  const uint32_t slot = state_->used;
  if (slot >= kMost) return kNone;
  if (chunks_[slot / kPerChunk] == nullptr) chunks_[slot / kPerChunk] = std::make_unique<Chunk>();
  state_->used = slot + 1;
  return slot;
}

void MountSlots::Put(uint32_t slot, const MountPoint& point, uint32_t above) {
  MountPointRecord& record = records_[slot].point.Next();
  record.above = above;
  record.fd = point.fd.get();
  const auto handle = point.handle.bytes();
  record.handle_size = static_cast<uint8_t>(handle.size());
  std::ranges::copy(handle, record.handle);
  const size_t length = std::min(point.name.size(), sizeof(record.name) - 1);
  memcpy(record.name, point.name.data(), length);
  record.name[length] = '\0';
  records_[slot].point.Publish();
}

uint32_t MountSlots::Enter(const std::shared_ptr<const Mount>& mount) {
  if (mount->slot_ == kNone) {
    const std::shared_ptr<const MountPoint> point = mount->point();
    uint32_t above = kNone;
    if (point != nullptr && (above = Enter(point->mount)) == kNone) return kNone;
    const uint32_t slot = FindFree();
    if (slot == kNone) {
      // It has been there before, or there would be no slot for it either.
      if (above != kNone) Leave(above);
      return kNone;
    }
    mount->slot_ = slot;
    Of(slot).mount = mount;
    if (point != nullptr) {
      MountRecord& record = records_[slot];
      record.id = mount->id_;
      record.device = mount->device_;
      record.unique_id = mount->unique_id_;
      record.file_system = mount->file_system_;
      record.handles = mount->handles_;
      Put(slot, *point, above);
      record.listed.store(true, std::memory_order_release);
    }
  }
  ++Of(mount->slot_).inodes;
  return mount->slot_;
}

std::shared_ptr<const Mount> MountSlots::Leave(uint32_t slot) {
  if (--Of(slot).inodes > 0) return nullptr;
  MountRecord& record = records_[slot];
  const bool below = record.listed.exchange(false);
  // Its point refers to the one above, which therefore does not end here.
  if (below) Leave(record.point.Get()->above);
  free_.push_back(slot);
  Of(slot).mount->slot_ = kNone;
  return std::move(Of(slot).mount);
}

std::shared_ptr<const Mount> MountSlots::Move(const Mount& mount, MountPoint point) {
  std::shared_ptr<const Mount> left;
  if (mount.slot_ != kNone) {
    const uint32_t above = Enter(point.mount);
    // Too many mounts: it stays where it was found before.
    if (above == kNone) return nullptr;
    const uint32_t before = records_[mount.slot_].point.Get()->above;
    Put(mount.slot_, point, above);
    left = Leave(before);
  }
  mount.MoveTo(std::move(point));
  return left;
}

// False where there is none.
bool MountSlots::Restore(uint32_t slot, int depth) {
  if (Of(slot).mount != nullptr) return true;
  const MountRecord& record = records_[slot];
  const MountPointRecord* const point = record.point.Get();
  if (!record.listed || point == nullptr || depth == kDeepest || point->above >= used() ||
      point->handle_size > FileHandle::kMaxBytes || !Restore(point->above, depth + 1))
    return false;
  const std::string name(point->name, strnlen(point->name, sizeof(point->name)));
  std::shared_ptr<const Mount> mount(
      new Mount(record, {Of(point->above).mount, FileHandle({point->handle, point->handle_size}),
                         UniqueFd(point->fd), name}));
  mount->slot_ = slot;
  // Until DropUnused.
  Of(slot) = {std::move(mount), 1};
  ++Of(point->above).inodes;
  return true;
}

void MountSlots::TakeOver(uint32_t slot, const std::shared_ptr<const Mount>& share) {
  for (uint32_t first = 0; first < used(); first += kPerChunk)
    chunks_[first / kPerChunk] = std::make_unique<Chunk>();
  if (slot >= used()) return;
  records_[slot].listed.store(false);
  share->slot_ = slot;
  Of(slot) = {share, 1};
  for (uint32_t other = 0; other < used(); other++) {
    if (Restore(other, 0)) continue;
    records_[other].listed.store(false);
    free_.push_back(other);
  }
}

void MountSlots::DropUnused() {
  for (uint32_t slot = 0; slot < used(); slot++)
    if (Of(slot).mount != nullptr) Leave(slot);
}

}  // namespace viewfsd
