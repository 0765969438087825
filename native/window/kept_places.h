// SPDX-License-Identifier: Apache-2.0
// What of a window's ranges outlives this process, as flat records in memory that is somebody
// else's. Locks nothing: its owner's mutex guards it.
#ifndef VIEWFSD_WINDOW_KEPT_PLACES_H_
#define VIEWFSD_WINDOW_KEPT_PLACES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "window/window.h"

namespace viewfsd {

// Counts while `listed` is set.
struct PlaceRecord {
  uint64_t moffset;
  uint64_t length;
  uint64_t foffset;
  uint64_t nodeid;
  bool writable;
  std::atomic<bool> listed;
};
static_assert(sizeof(PlaceRecord) == 40);

struct PlaceRecords {
  static constexpr uint32_t kMost = uint32_t{1} << 18;

  // Those that have ever been used.
  std::atomic<uint32_t> used;
  PlaceRecord records[kMost];
};

class KeptPlaces {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Null: nothing is kept.
  explicit KeptPlaces(PlaceRecords* kept) : kept_(kept) {}

  // Its record; kNone where it is not kept.
  uint32_t Put(const WindowRange& range, uint64_t nodeid, bool writable) {
    const uint32_t index = FindFree();
    if (index == kNone) return kNone;
    PlaceRecord& record = kept_->records[index];
    record.moffset = range.moffset;
    record.length = range.length;
    record.foffset = range.foffset;
    record.nodeid = nodeid;
    record.writable = writable;
    record.listed.store(true, std::memory_order_release);
    return index;
  }
  void Erase(uint32_t index) {
    if (index == kNone) return;
    kept_->records[index].listed.store(false, std::memory_order_release);
    free_.push_back(index);
  }

  // Visits each record, with its number, that another process has left at any instant.
  template <typename Visit>
  void TakeOver(Visit visit) {
    const uint32_t used = kept_ == nullptr ? 0 : kept_->used.load();
    for (uint32_t index = 0; index < used && index < PlaceRecords::kMost; index++) {
      const PlaceRecord& record = kept_->records[index];
      if (record.listed)
        visit(record, index);
      else
        free_.push_back(index);
    }
  }

 private:
  uint32_t FindFree() {
    if (kept_ == nullptr) return kNone;
    if (!free_.empty()) {
      const uint32_t index = free_.back();
      free_.pop_back();
      return index;
    }
    const uint32_t index = kept_->used.load(std::memory_order_relaxed);
    if (index == PlaceRecords::kMost) return kNone;
    kept_->used.store(index + 1, std::memory_order_relaxed);
    return index;
  }

  PlaceRecords* const kept_;
  std::vector<uint32_t> free_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_WINDOW_KEPT_PLACES_H_
