// SPDX-License-Identifier: Apache-2.0
#include "window/view_ranges.h"

#include <linux/memory_view.h>

#include <cerrno>
#include <iterator>
#include <vector>

#include "session/guest_session.h"
#include "session/server_state.h"
#include "util/unique_fd.h"
#include "window/view_ioctl.h"

namespace viewfsd {

namespace {

int MapInto(int view, const WindowRange& range, int fd, bool writable) {
  memview_map_fd_info map = {};
  map.mem_offset = range.moffset;
  map.size = range.length;
  map.fd = fd;
  map.fd_offset = range.foffset;
  map.flags = MEMVIEW_MAP_READ | (writable ? MEMVIEW_MAP_WRITE : 0);
  return ViewIoctl(view, MEMVIEW_MAP_FD, &map);
}

}  // namespace

class ViewRanges::Turn {
 public:
  Turn(ViewRanges& ranges, uint64_t nodeid) : ranges_(ranges), nodeid_(nodeid) {
    {
      const std::lock_guard lock(ranges_.mutex_);
      std::shared_ptr<Owner>& known = ranges_.owners_[nodeid];
      if (known == nullptr) known = std::make_shared<Owner>();
      owner_ = known;
    }
    owner_->changing.lock();
  }
  ~Turn() {
    owner_->changing.unlock();
    const std::lock_guard lock(ranges_.mutex_);
    owner_.reset();
    // Others take theirs under the same lock.
    const auto known = ranges_.owners_.find(nodeid_);
    if (known->second.use_count() == 1 && known->second->places.empty())
      ranges_.owners_.erase(known);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  Owner& owner() { return *owner_; }

 private:
  ViewRanges& ranges_;
  const uint64_t nodeid_;
  std::shared_ptr<Owner> owner_;
};

ViewRanges::Places::iterator ViewRanges::FirstIn(uint64_t moffset, uint64_t length) {
  const auto next = places_.upper_bound(moffset);
  if (next != places_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second.length > moffset) return before;
  }
  return next != places_.end() && next->first < moffset + length ? next : places_.end();
}

void ViewRanges::Record(uint64_t nodeid, const WindowRange& range) {
  // A successor of this process would not know which of them it has to make writable again: they
  // all stay so.
  if (ServerState::Get() != nullptr) return;
  if (places_.size() >= kMaxRanges || FirstIn(range.moffset, range.length) != places_.end()) return;
  places_[range.moffset] = {range.length, range.foffset, nodeid, true};
  owners_[nodeid]->places.insert(range.moffset);
  Count();
}

void ViewRanges::Forget(uint64_t moffset, uint64_t length) {
  while (count_.load(std::memory_order_acquire) > 0) {
    uint64_t nodeid;
    {
      const std::lock_guard lock(mutex_);
      const auto place = FirstIn(moffset, length);
      if (place == places_.end()) return;
      nodeid = place->second.nodeid;
    }
    Turn turn(*this, nodeid);
    const std::lock_guard lock(mutex_);
    const auto place = FirstIn(moffset, length);
    if (place == places_.end()) return;
    if (place->second.nodeid != nodeid) continue;
    // Of a range that is unmapped in part, what remains stays as it is, unknown.
    turn.owner().places.erase(place->first);
    places_.erase(place);
    Count();
  }
}

int ViewRanges::Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable) {
  const int view = view_.load(std::memory_order_acquire);
  Forget(range.moffset, range.length);
  if (!writable) return MapInto(view, range, fd, false);
  Turn turn(*this, nodeid);
  const int result = MapInto(view, range, fd, true);
  if (result < 0) return result;
  const std::lock_guard lock(mutex_);
  Record(nodeid, range);
  return 0;
}

void ViewRanges::Clear() {
  const std::lock_guard lock(mutex_);
  for (auto owner = owners_.begin(); owner != owners_.end();) {
    owner->second->places.clear();
    // Who has a turn ends it himself.
    owner = owner->second.use_count() == 1 ? owners_.erase(owner) : std::next(owner);
  }
  places_.clear();
  Count();
}

uint64_t ViewRanges::NodeidAt(uint64_t moffset) {
  const std::lock_guard lock(mutex_);
  const auto place = FirstIn(moffset, 1);
  return place == places_.end() ? 0 : place->second.nodeid;
}

std::vector<WindowRange> ViewRanges::Unlike(const Owner& owner, bool writable) {
  const std::lock_guard lock(mutex_);
  std::vector<WindowRange> ranges;
  for (const uint64_t moffset : owner.places) {
    const Place& place = places_.at(moffset);
    if (place.writable != writable) ranges.push_back({moffset, place.length, place.foffset});
  }
  return ranges;
}

int ViewRanges::Change(const std::vector<WindowRange>& ranges, int fd, bool writable) {
  const int view = view_.load(std::memory_order_acquire);
  for (const WindowRange& range : ranges) {
    if (const int result = MapInto(view, range, fd, writable); result < 0) return result;
    const std::lock_guard lock(mutex_);
    if (const auto place = places_.find(range.moffset); place != places_.end())
      place->second.writable = writable;
  }
  return 0;
}

int ViewRanges::Settle(uint64_t nodeid, const std::function<bool()>& wanted,
                       const std::function<int(bool writable)>& open) {
  if (count_.load(std::memory_order_acquire) == 0) return 0;
  {
    const std::lock_guard lock(mutex_);
    if (!owners_.contains(nodeid)) return 0;
  }
  UniqueFd fd;
  bool fd_writable = false;
  for (;;) {
    {
      const SessionHold session;
      if (!session) return -ENOTCONN;
      Turn turn(*this, nodeid);
      // Not before: who asks last, sees all changes.
      const bool writable = wanted();
      const std::vector<WindowRange> others = Unlike(turn.owner(), writable);
      if (others.empty()) return 0;
      if (fd && fd_writable == writable) return Change(others, fd.get(), writable);
      fd_writable = writable;
    }
    // Holding nothing: this can hang in a file system.
    fd.reset(open(fd_writable));
    if (!fd) return fd.get();
  }
}

}  // namespace viewfsd
