// SPDX-License-Identifier: Apache-2.0
// The ranges of a memory view through which the guest may write to files. While there is one, the
// view keeps its file open for writing, and nobody on the host can execute it (ETXTBSY), load it as
// a module or take a lease on it. So they are made read-only as soon as the guest has the file
// nowhere open for writing, and writable again before it learns that it has. The guest sees nothing
// of that: its kernel writes through a range only for an open file, or for a mapping, which keeps
// its file open.
//
// What a guest does at once to one range on two queues may leave a range writable that need not be;
// it never gives it more than it asked for.
#ifndef VIEWFSD_VIEW_RANGES_H_
#define VIEWFSD_VIEW_RANGES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "window/window.h"

namespace viewfsd {

class ViewRanges {
 public:
  // Ranges that are known at once, some 100 bytes of memory each: 512 GiB of a Linux guest's. What
  // is mapped beyond them stays writable.
  static constexpr size_t kMaxRanges = size_t{1} << 18;

  // The view's control fd, which stays the caller's. Before the first request; may be repeated.
  void Attach(int view) { view_.store(view, std::memory_order_release); }
  // Whether there is a view at all.
  bool attached() const { return view_.load(std::memory_order_acquire) >= 0; }

  // MEMVIEW_MAP_FD of an inode's file: 0 or -errno. The caller sees to it that the guest's session
  // does not end meanwhile, here and in Forget.
  int Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable);
  // A part of the view is about to become a hole. Waits where its range is just being changed.
  void Forget(uint64_t moffset, uint64_t length);
  // All of it has become one.
  void Clear();
  // The inode of the range at `moffset`; 0, which no inode has, where none is known.
  uint64_t NodeidAt(uint64_t moffset);

  // Makes the inode's ranges writable or read-only. `wanted` tells, and `open` opens the file; it
  // returns a descriptor, which becomes this function's, or -errno. Whoever changes what `wanted`
  // will say calls this afterwards. Returns 0, or -errno where a range is not what it should be:
  // -ENOTCONN for a request of an older session (guest_session.h).
  int Settle(uint64_t nodeid, const std::function<bool()>& wanted,
             const std::function<int(bool writable)>& open);

 private:
  struct Place {
    uint64_t length;
    uint64_t foffset;
    uint64_t nodeid;
    bool writable;
  };
  struct Owner {
    // Held while the view is changed for this inode; taken before `mutex_`.
    std::mutex changing;
    // Keys of `places_`.
    std::set<uint64_t> places;
  };
  // Nobody else changes the view for the inode while this object lives.
  class Turn;
  using Places = std::map<uint64_t, Place>;

  // The owner's ranges that are not so. The caller has the turn, here and in Change.
  std::vector<WindowRange> Unlike(const Owner& owner, bool writable);
  // Returns 0, or -errno where it has not done all.
  int Change(const std::vector<WindowRange>& ranges, int fd, bool writable);
  // These need `mutex_`.
  Places::iterator FirstIn(uint64_t moffset, uint64_t length);
  void Record(uint64_t nodeid, const WindowRange& range);
  void Count() { count_.store(places_.size(), std::memory_order_release); }

  std::atomic<int> view_{-1};
  // Of `places_`, so that files without such ranges cost nothing.
  std::atomic<size_t> count_{0};
  std::mutex mutex_;
  // By offset in the view; disjoint.
  Places places_;
  // By nodeid: those that have places or a turn.
  std::unordered_map<uint64_t, std::shared_ptr<Owner>> owners_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_VIEW_RANGES_H_
