// SPDX-License-Identifier: Apache-2.0
#include "window/given_up_ranges.h"

namespace viewfsd {
namespace {

constexpr int64_t kSoon = 60'000'000'000;

}  // namespace

GivenUpRanges::Place& GivenUpRanges::At(uint64_t nodeid, uint64_t foffset) {
  // Offsets are multiples of a power of two, and nodeids start from 1.
  const uint64_t mixed = (nodeid * 0x9e3779b97f4a7c15 + foffset) * 0xbf58476d1ce4e5b9;
  return places_[(mixed >> 32) % kPlaces];
}

void GivenUpRanges::Add(uint64_t nodeid, uint64_t foffset, int64_t now) {
  if (places_.empty()) places_.resize(kPlaces);
  At(nodeid, foffset) = {nodeid, foffset, now};
}

bool GivenUpRanges::Take(uint64_t nodeid, uint64_t foffset, int64_t now) {
  if (places_.empty()) return false;
  Place& place = At(nodeid, foffset);
  if (place.nodeid != nodeid || place.foffset != foffset) return false;
  const bool soon = now - place.when < kSoon;
  place = Place();
  return soon;
}

}  // namespace viewfsd
