// SPDX-License-Identifier: Apache-2.0
// Which inodes one queue's thread is asked about most. The thread alone writes; anybody may read.
#ifndef VIEWFSD_SESSION_HOT_INODES_H_
#define VIEWFSD_SESSION_HOT_INODES_H_

#include <linux/fuse.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace viewfsd {

// A place is disputed by the inodes whose numbers fall on it: each request of another one takes
// from the count of the one that has it, until nothing is left. So those that have many requests
// stay.
class HotInodes {
 public:
  static constexpr size_t kPlaces = 256;
  struct Place {
    // 0: nobody has it.
    std::atomic<uint64_t> nodeid{0};
    // No more than the inode has had.
    std::atomic<uint64_t> requests{0};
  };

  // `requests` of them, by what has been timed (latencies.h). Those that are not about one inode
  // but about a name, or forget, don't count.
  void Add(uint32_t opcode, uint64_t nodeid, uint32_t requests) {
    if (nodeid == 0 || opcode == FUSE_LOOKUP || opcode == FUSE_FORGET ||
        opcode == FUSE_BATCH_FORGET)
      return;
    Place& place = places_[((nodeid * 0x9e3779b97f4a7c15u) >> 32) % kPlaces];
    const uint64_t had = place.requests.load(std::memory_order_relaxed);
    if (place.nodeid.load(std::memory_order_relaxed) == nodeid) {
      place.requests.store(had + requests, std::memory_order_relaxed);
    } else if (had > requests) {
      place.requests.store(had - requests, std::memory_order_relaxed);
    } else {
      place.nodeid.store(nodeid, std::memory_order_relaxed);
      place.requests.store(requests, std::memory_order_relaxed);
    }
  }
  const std::array<Place, kPlaces>& places() const { return places_; }

 private:
  std::array<Place, kPlaces> places_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_SESSION_HOT_INODES_H_
