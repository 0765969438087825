// SPDX-License-Identifier: Apache-2.0
// Host ids as the guest sees them (--translate-uid, --translate-gid). An id in no range stays as it
// is. What the guest's ids are on the host is decided where they come in, by the control plane.
#ifndef VIEWFSD_ID_RANGES_H_
#define VIEWFSD_ID_RANGES_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace viewfsd {

// Host ids [first, first + count). They become ids from `guest` on, or all the one id `guest` where
// `squash`.
struct IdRange {
  uint32_t first;
  uint32_t count;
  uint32_t guest;
  bool squash;
};

// The ranges don't overlap.
class IdRanges {
 public:
  IdRanges() = default;
  explicit IdRanges(std::vector<IdRange> ranges) : ranges_(std::move(ranges)) {}

  uint32_t ToGuest(uint32_t id) const {
    for (const IdRange& range : ranges_)
      if (id - range.first < range.count)
        return range.squash ? range.guest : range.guest + (id - range.first);
    return id;
  }

 private:
  std::vector<IdRange> ranges_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_ID_RANGES_H_
