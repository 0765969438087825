// SPDX-License-Identifier: Apache-2.0
#include "window/mapped_ranges.h"

#include <iterator>

namespace viewfsd {

void MappedRanges::Put(uint64_t moffset, const Place& place) {
  if (places_.size() < kMaxRanges) places_.insert_or_assign(moffset, place);
}

// Of a range that lies in the part only partly, the rest stays.
void MappedRanges::Cut(const WindowPart& part) {
  const uint64_t end = part.moffset + part.length;
  auto next = places_.upper_bound(part.moffset);
  if (next != places_.begin() &&
      std::prev(next)->first + std::prev(next)->second.length > part.moffset)
    --next;
  while (next != places_.end() && next->first < end) {
    const uint64_t start = next->first;
    const Place place = next->second;
    next = places_.erase(next);
    if (start < part.moffset)
      Put(start, {part.moffset - start, place.foffset, place.nodeid, place.writable});
    if (start + place.length > end)
      Put(end, {start + place.length - end, place.foffset + (end - start), place.nodeid,
                place.writable});
  }
}

void MappedRanges::Add(uint64_t nodeid, const WindowRange& range, bool writable) {
  const std::lock_guard lock(mutex_);
  Cut({range.moffset, range.length});
  Put(range.moffset, {range.length, range.foffset, nodeid, writable});
}

void MappedRanges::Remove(const WindowPart& part) {
  const std::lock_guard lock(mutex_);
  Cut(part);
}

void MappedRanges::Clear() {
  const std::lock_guard lock(mutex_);
  places_.clear();
}

std::vector<MappedRange> MappedRanges::From(uint64_t moffset, size_t most) {
  std::vector<MappedRange> ranges;
  ranges.reserve(most);
  const std::lock_guard lock(mutex_);
  for (auto place = places_.lower_bound(moffset); place != places_.end() && ranges.size() < most;
       ++place)
    ranges.push_back({{place->first, place->second.length, place->second.foffset},
                      place->second.nodeid,
                      place->second.writable});
  return ranges;
}

}  // namespace viewfsd
