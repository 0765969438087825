// SPDX-License-Identifier: Apache-2.0
// What the guest has been shown where in the window, of whichever kind: for those who look on. Two
// queues that change one place at once may leave the wrong one of their ranges here, and so may a
// process that ends within a change.
#ifndef VIEWFSD_WINDOW_MAPPED_RANGES_H_
#define VIEWFSD_WINDOW_MAPPED_RANGES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "window/given_up_ranges.h"
#include "window/kept_places.h"
#include "window/window.h"

namespace viewfsd {

struct MappedRange {
  WindowRange range;
  uint64_t nodeid;
  bool writable;
};

class MappedRanges {
 public:
  // Some 100 bytes of memory each: 512 GiB of a Linux guest's. What is mapped beyond them is not
  // seen here.
  static constexpr size_t kMaxRanges = PlaceRecords::kMost;

  // `kept`: where they outlive this process, or null.
  explicit MappedRanges(PlaceRecords* kept = nullptr) : kept_(kept) {}

  // What another process has left there.
  void TakeOver();

  // In place of whatever was there, in a window of `window_size` bytes.
  void Add(uint64_t nodeid, const WindowRange& range, bool writable, uint64_t window_size);
  void Remove(const WindowPart& part);
  void Clear();

  // Ranges that were mapped again within a minute after the guest had given them up in a window
  // that was nearly full.
  uint64_t wanted_again() const { return wanted_again_.load(std::memory_order_relaxed); }

  // Up to `most` of them from `moffset` on, by their place. Nobody who maps waits for longer than
  // that takes.
  std::vector<MappedRange> From(uint64_t moffset, size_t most);

 private:
  struct Place {
    uint64_t length;
    uint64_t foffset;
    uint64_t nodeid;
    bool writable;
    // KeptPlaces'.
    uint32_t kept = KeptPlaces::kNone;
  };
  // These need `mutex_`.
  void Put(uint64_t moffset, Place place);
  void Cut(const WindowPart& part);
  void NoteGivenUp(const Place& place);

  std::mutex mutex_;
  KeptPlaces kept_;
  // By offset in the window; disjoint.
  std::map<uint64_t, Place> places_;
  // Of all places.
  uint64_t bytes_ = 0;
  uint64_t window_size_ = 0;
  GivenUpRanges given_up_;
  std::atomic<uint64_t> wanted_again_{0};
};

}  // namespace viewfsd

#endif  // VIEWFSD_WINDOW_MAPPED_RANGES_H_
