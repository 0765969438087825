// SPDX-License-Identifier: Apache-2.0
#include "host/inode_numbers.h"

#include <algorithm>

namespace viewfsd {

uint64_t InodeNumbers::ShownSlowly(uint64_t home, uint64_t device, uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (device == home) {
    const size_t block = (number >> kBlockShift) % kBlocks;
    if (block == kSingles || blocks_[block].use == Block::kTaken) return Single(device, number);
    state_->blocks = true;
    blocks_[block].use = Block::kOwn;
    return number;
  }
  if (number >> kBlockShift != 0) return Single(device, number);
  const size_t block = BlockOf(device);
  return block == kSingles ? Single(device, number) : At(block, number);
}

void InodeNumbers::TakeOver() {
  const std::lock_guard lock(mutex_);
  for (size_t block = 0; state_->blocks && block < kSingles; block++)
    if (blocks_[block].use == Block::kTaken) devices_.emplace(blocks_[block].device, block);
  for (size_t i = 0; i < std::min<size_t>(state_->singles, kKeptSingles); i++)
    singles_.try_emplace({kept_[i].device, kept_[i].number}, At(kSingles, i));
}

// kSingles where there is none left.
size_t InodeNumbers::BlockOf(uint64_t device) {
  if (const auto known = devices_.find(device); known != devices_.end()) return known->second;
  size_t block = 0;
  while (block < kSingles && blocks_[block].use != Block::kFree) ++block;
  if (block < kSingles) {
    state_->blocks = true;
    blocks_[block].device = device;
    blocks_[block].use = Block::kTaken;
  }
  devices_.emplace(device, block);
  return block;
}

uint64_t InodeNumbers::Single(uint64_t device, uint64_t number) {
  const size_t next = singles_.size();
  const auto [place, added] = singles_.try_emplace({device, number}, At(kSingles, next));
  if (added && next < kKeptSingles) {
    kept_[next] = {device, number};
    state_->singles.store(static_cast<uint32_t>(next + 1), std::memory_order_release);
  }
  return place->second;
}

}  // namespace viewfsd
