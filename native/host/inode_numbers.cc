// SPDX-License-Identifier: Apache-2.0
#include "host/inode_numbers.h"

namespace viewfsd {

uint64_t InodeNumbers::ShownSlowly(uint64_t home, uint64_t device, uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (device == home) {
    const size_t block = (number >> kBlockShift) % kBlocks;
    if (block == kSingles || blocks_[block] == Block::kTaken) return Single(device, number);
    blocks_[block] = Block::kOwn;
    return number;
  }
  if (number >> kBlockShift != 0) return Single(device, number);
  const size_t block = BlockOf(device);
  return block == kSingles ? Single(device, number) : At(block, number);
}

// kSingles where there is none left.
size_t InodeNumbers::BlockOf(uint64_t device) {
  if (const auto known = devices_.find(device); known != devices_.end()) return known->second;
  size_t block = 0;
  while (block < kSingles && blocks_[block] != Block::kFree) ++block;
  if (block < kSingles) blocks_[block] = Block::kTaken;
  devices_.emplace(device, block);
  return block;
}

uint64_t InodeNumbers::Single(uint64_t device, uint64_t number) {
  const uint64_t next = At(kSingles, singles_.size());
  return singles_.try_emplace({device, number}, next).first->second;
}

}  // namespace viewfsd
