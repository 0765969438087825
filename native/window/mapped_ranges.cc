// SPDX-License-Identifier: Apache-2.0
#include "window/mapped_ranges.h"

#include <iterator>

#include "util/coarse_clock.h"

namespace viewfsd {

void MappedRanges::Put(uint64_t moffset, Place place) {
  if (places_.size() >= kMaxRanges) return;
  place.kept = kept_.Put({moffset, place.length, place.foffset}, place.nodeid, place.writable);
  places_.insert_or_assign(moffset, place);
  bytes_ += place.length;
}

// Linux begins to give up ranges when a fifth of the window is free; before that it does so with a
// file that it forgets.
void MappedRanges::NoteGivenUp(const Place& place) {
  if (bytes_ >= window_size_ / 4 * 3) given_up_.Add(place.nodeid, place.foffset, CoarseNow());
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
    if (start >= part.moffset && start + place.length <= end) NoteGivenUp(place);
    bytes_ -= place.length;
    kept_.Erase(place.kept);
    next = places_.erase(next);
    if (start < part.moffset)
      Put(start, {part.moffset - start, place.foffset, place.nodeid, place.writable});
    if (start + place.length > end)
      Put(end, {start + place.length - end, place.foffset + (end - start), place.nodeid,
                place.writable});
  }
}

void MappedRanges::Add(uint64_t nodeid, const WindowRange& range, bool writable,
                       uint64_t window_size) {
  const std::lock_guard lock(mutex_);
  window_size_ = window_size;
  if (given_up_.Take(nodeid, range.foffset, CoarseNow()))
    wanted_again_.fetch_add(1, std::memory_order_relaxed);
  Cut({range.moffset, range.length});
  // What takes its own place, with other rights, has not been given up.
  given_up_.Take(nodeid, range.foffset, CoarseNow());
  Put(range.moffset, {range.length, range.foffset, nodeid, writable});
}

void MappedRanges::Remove(const WindowPart& part) {
  const std::lock_guard lock(mutex_);
  Cut(part);
}

void MappedRanges::Clear() {
  const std::lock_guard lock(mutex_);
  for (const auto& [moffset, place] : places_) kept_.Erase(place.kept);
  places_.clear();
  bytes_ = 0;
}

void MappedRanges::TakeOver() {
  const std::lock_guard lock(mutex_);
  kept_.TakeOver([this](const PlaceRecord& record, uint32_t index) {
    const Place place = {record.length, record.foffset, record.nodeid, record.writable, index};
    if (places_.emplace(record.moffset, place).second) bytes_ += place.length;
  });
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
