// SPDX-License-Identifier: Apache-2.0
// A hash table of the records of a pool, which hold their own keys: an array of indexes, and chains
// through the records. It grows and shrinks in place by one bucket at a time (linear hashing), so
// that nobody waits for a whole table. Owns and locks nothing.
#ifndef VIEWFSD_RECORD_INDEX_H_
#define VIEWFSD_RECORD_INDEX_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "host/record_pool.h"
#include "host/table_memory.h"

namespace viewfsd {

// Traits, an object: `uint64_t Hash(key)`, `uint64_t HashOf(record)`, `bool Has(record, key)`, and
// `uint32_t& Next(record)`, the index's own.
template <typename Record, typename Traits>
class RecordIndex {
 public:
  static constexpr uint32_t kNone = RecordPool<Record>::kNone;

  // For `count` records.
  static constexpr size_t BytesFor(size_t count) {
    return TableMemory::BytesOf<State>(1) + TableMemory::BytesOf<uint32_t>(MostBuckets(count));
  }
  RecordIndex(TableMemory& memory, const RecordPool<Record>& records, size_t count,
              Traits traits = {})
      : records_(records),
        traits_(std::move(traits)),
        most_(MostBuckets(count)),
        state_(memory.Reserve<State>(1)),
        heads_(memory.Reserve<uint32_t>(most_)) {
    if (heads_ != nullptr && state_->buckets == 0) state_->buckets = kFewest;
  }

  template <typename Key>
  uint32_t Find(const Key& key) const {
    uint32_t index = heads_[BucketOf(traits_.Hash(key))];
    while (index != kNone && !traits_.Has(records_[index], key)) index = Next(index);
    return index;
  }

  // A record whose key is not in the table.
  void Insert(uint32_t index) {
    Push(BucketOf(HashOf(index)), index);
    if (++state_->size > state_->buckets && state_->buckets < most_) Grow();
  }

  // A record that is in the table, and whose key is what it was.
  void Erase(uint32_t index) {
    uint32_t* place = &heads_[BucketOf(HashOf(index))];
    while (*place != index) place = &Next(*place);
    *place = Next(index);
    --state_->size;
    // Two at a time, so that it gets there before the records do.
    for (int i = 0; i < 2 && state_->buckets > kFewest && state_->buckets / 2 > state_->size; i++)
      Shrink();
  }

  size_t size() const { return state_->size; }

  // Empties it, whatever state it is in.
  void Clear() {
    std::fill_n(heads_, state_->buckets, kNone);
    state_->size = 0;
  }

 private:
  static constexpr uint32_t kFewest = 64;
  static constexpr uint32_t kPerBlock = TableMemory::kBlock / sizeof(uint32_t);

  struct State {
    uint32_t buckets;
    uint32_t size;
  };

  static constexpr uint32_t MostBuckets(size_t count) {
    return std::max(kFewest, static_cast<uint32_t>(count));
  }

  uint32_t& Next(uint32_t index) const { return traits_.Next(records_[index]); }
  uint64_t HashOf(uint32_t index) const { return traits_.HashOf(records_[index]); }

  // The bucket that bucket number `added` has been split from.
  static uint32_t Origin(uint32_t added) { return added - std::bit_floor(added); }

  uint32_t BucketOf(uint64_t hash) const {
    const uint32_t buckets = state_->buckets;
    const uint32_t bucket = static_cast<uint32_t>(hash) & (std::bit_ceil(buckets) - 1);
    return bucket < buckets ? bucket : Origin(bucket);
  }

  void Push(uint32_t bucket, uint32_t index) {
    Next(index) = heads_[bucket];
    heads_[bucket] = index;
  }

  void Grow() {
    const uint32_t added = state_->buckets++;
    uint32_t* place = &heads_[Origin(added)];
    heads_[added] = kNone;
    while (*place != kNone) {
      const uint32_t index = *place;
      if (BucketOf(HashOf(index)) == added) {
        *place = Next(index);
        Push(added, index);
      } else {
        place = &Next(index);
      }
    }
  }

  void Shrink() {
    const uint32_t last = --state_->buckets;
    uint32_t* place = &heads_[Origin(last)];
    while (*place != kNone) place = &Next(*place);
    *place = heads_[last];
    heads_[last] = kNone;
    if (last % kPerBlock == 0) TableMemory::Release(&heads_[last]);
  }

  const RecordPool<Record>& records_;
  const Traits traits_;
  const uint32_t most_;
  State* const state_;
  uint32_t* const heads_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_RECORD_INDEX_H_
