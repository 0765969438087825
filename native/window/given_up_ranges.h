// SPDX-License-Identifier: Apache-2.0
// Ranges of files that a guest has given up of late because its window was nearly full. One that it
// wants back soon says that the window is too small for what the guest is at.
#ifndef VIEWFSD_WINDOW_GIVEN_UP_RANGES_H_
#define VIEWFSD_WINDOW_GIVEN_UP_RANGES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace viewfsd {

// Of those whose hashes are the same, only the last is known.
class GivenUpRanges {
 public:
  // `now`: nanoseconds.
  void Add(uint64_t nodeid, uint64_t foffset, int64_t now);
  // Whether it was given up within the last minute; it is forgotten.
  bool Take(uint64_t nodeid, uint64_t foffset, int64_t now);

 private:
  struct Place {
    uint64_t nodeid = 0;
    uint64_t foffset = 0;
    int64_t when = 0;
  };
  Place& At(uint64_t nodeid, uint64_t foffset);

  // Those of a window of 16 GiB; empty until one is given up.
  static constexpr size_t kPlaces = 8192;
  std::vector<Place> places_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_WINDOW_GIVEN_UP_RANGES_H_
