// SPDX-License-Identifier: Apache-2.0
// A table of records by index, from 1 on; 0 is none. A block of which nothing is left gives its
// memory back. Locks nothing: its owner's mutex guards it.
//
// All state is in the memory, and follows from which records are taken.
#ifndef VIEWFSD_RECORD_POOL_H_
#define VIEWFSD_RECORD_POOL_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "host/table_memory.h"

namespace viewfsd {

template <typename Record>
class RecordPool {
 public:
  static constexpr uint32_t kNone = 0;

  // For `count` records.
  static constexpr size_t BytesFor(size_t count) {
    return TableMemory::BytesOf<State>(1) + TableMemory::BytesOf<Block>(BlocksFor(count)) +
           TableMemory::BytesOf<Record>(BlocksFor(count) * kPerBlock);
  }
  RecordPool(TableMemory& memory, size_t count)
      : most_(static_cast<uint32_t>(BlocksFor(count))),
        state_(memory.Reserve<State>(1)),
        blocks_(memory.Reserve<Block>(most_)),
        records_(memory.Reserve<Record>(most_ * kPerBlock)) {}

  Record& operator[](uint32_t index) const { return records_[index]; }
  uint32_t IndexOf(const Record& record) const { return static_cast<uint32_t>(&record - records_); }

  bool IsTaken(uint32_t index) const {
    const Block& block = blocks_[index / kPerBlock];
    return (block.bits[index % kPerBlock / 64] >> index % 64 & 1) != 0;
  }

  // Whether it is the index of a record, which may be free.
  bool Has(uint32_t index) const { return index != kNone && index / kPerBlock < state_->blocks; }

  // A record of which nothing is known; kNone where all are taken.
  uint32_t Take() {
    if (state_->roomy == 0 && !AddBlock()) return kNone;
    const uint32_t number = state_->roomy - 1;
    Block& block = blocks_[number];
    if (block.taken++ == 0) --state_->empty;
    size_t word = 0;
    while (block.bits[word] == UINT64_MAX) word++;
    const int bit = std::countr_one(block.bits[word]);
    block.bits[word] |= uint64_t{1} << bit;
    if (IsFull(number)) Unlist(number);
    const auto index = static_cast<uint32_t>(number * kPerBlock + word * 64 + bit);
    TableMemory::Unpoison(&records_[index], sizeof(Record));
    return index;
  }

  void Give(uint32_t index) {
    const auto number = static_cast<uint32_t>(index / kPerBlock);
    Block& block = blocks_[number];
    if (IsFull(number)) List(number);
    block.bits[index % kPerBlock / 64] &= ~(uint64_t{1} << index % 64);
    TableMemory::Poison(&records_[index], sizeof(Record));
    if (--block.taken > 0) return;
    if (++state_->empty <= kKeptEmpty) return;
    --state_->empty;
    Unlist(number);
    TableMemory::Release(&records_[number * kPerBlock]);
    block.next = state_->released;
    state_->released = number + 1;
  }

  // For what another process has left at any instant, within this, too: of the records that are
  // taken, those stay of which `counts(index)` holds, and all else is made anew.
  template <typename Counts>
  void TakeOver(Counts counts) {
    *state_ = {.blocks = state_->blocks, .roomy = 0, .empty = 0, .released = 0};
    if (state_->blocks > 0) blocks_[0].bits[0] |= 1;
    for (uint32_t number = 0; number < state_->blocks; number++) {
      Block& block = blocks_[number];
      uint32_t taken = 0;
      for (size_t word = 0; word < kWords; word++)
        taken += KeepCounting(number * kPerBlock + word * 64, &block.bits[word], counts);
      block.taken = taken;
      if (block.taken > 0) {
        if (!IsFull(number)) List(number);
      } else {
        TableMemory::Release(&records_[number * kPerBlock]);
        block.next = state_->released;
        state_->released = number + 1;
      }
    }
  }

  // Visits the index of each record that is taken; it may be given back.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (uint32_t number = 0; number < state_->blocks; number++) ForBlockAt(number, visit);
  }

  // The same for those of one block, the first of which is 0. Returns the next one, 0 at the end.
  template <typename Visit>
  size_t ForBlock(size_t number, Visit visit) const {
    if (number < state_->blocks) ForBlockAt(static_cast<uint32_t>(number), visit);
    return number + 1 < state_->blocks ? number + 1 : 0;
  }

 private:
  static constexpr size_t kPerBlock = TableMemory::kBlock / sizeof(Record);
  static constexpr size_t kWords = kPerBlock / 64;
  static_assert(TableMemory::kBlock % sizeof(Record) == 0 && kPerBlock % 64 == 0);
  // So many empty blocks stay, for a table whose size goes up and down.
  static constexpr uint32_t kKeptEmpty = 4;

  // Blocks are named by their number + 1 here, and 0 is none.
  struct State {
    // Those that have ever been used.
    uint32_t blocks;
    // The first of the list of those that have free records, and how many of them have no other.
    uint32_t roomy;
    uint32_t empty;
    // The first of the list of those that have no memory.
    uint32_t released;
  };
  struct Block {
    uint32_t next;
    uint32_t previous;
    uint32_t taken;
    // Which records are taken.
    uint64_t bits[kWords];
  };

  template <typename Visit>
  void ForBlockAt(uint32_t number, Visit& visit) const {
    for (size_t word = 0; word < kWords && blocks_[number].taken > 0; word++) {
      for (uint64_t bits = blocks_[number].bits[word]; bits != 0; bits &= bits - 1) {
        const size_t index = number * kPerBlock + word * 64 + std::countr_zero(bits);
        if (index != kNone) visit(static_cast<uint32_t>(index));
      }
    }
  }

  // Of the 64 records from `first` on. Returns how many are left.
  template <typename Counts>
  static uint32_t KeepCounting(size_t first, uint64_t* bits, Counts& counts) {
    uint32_t kept = 0;
    for (uint64_t left = *bits; left != 0; left &= left - 1) {
      const auto index = static_cast<uint32_t>(first + std::countr_zero(left));
      if (index == kNone) continue;
      if (counts(index))
        kept++;
      else
        *bits &= ~(left & -left);
    }
    return kept;
  }

  static constexpr size_t BlocksFor(size_t count) { return (count + kPerBlock) / kPerBlock; }
  // There is no record 0.
  bool IsFull(uint32_t number) const {
    return blocks_[number].taken == kPerBlock - (number == 0 ? 1 : 0);
  }

  bool AddBlock() {
    uint32_t number;
    if (state_->released != 0) {
      number = state_->released - 1;
      state_->released = blocks_[number].next;
    } else {
      if (state_->blocks == most_) return false;
      number = state_->blocks++;
      if (number == 0) blocks_[0].bits[0] = 1;
    }
    ++state_->empty;
    List(number);
    return true;
  }

  void List(uint32_t number) {
    Block& block = blocks_[number];
    block.previous = 0;
    block.next = state_->roomy;
    if (block.next != 0) blocks_[block.next - 1].previous = number + 1;
    state_->roomy = number + 1;
  }

  void Unlist(uint32_t number) {
    const Block& block = blocks_[number];
    (block.previous == 0 ? state_->roomy : blocks_[block.previous - 1].next) = block.next;
    if (block.next != 0) blocks_[block.next - 1].previous = block.previous;
  }

  const uint32_t most_;
  State* const state_;
  Block* const blocks_;
  Record* const records_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_RECORD_POOL_H_
