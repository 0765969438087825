// SPDX-License-Identifier: Apache-2.0
// Inodes that the guest knows and that were not found again when it was moved here: whatever it
// asks of them fails with EIO until it has forgotten them.
#ifndef VIEWFSD_LOST_INODES_H_
#define VIEWFSD_LOST_INODES_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace viewfsd {

class LostInodes {
 public:
  // Cheap, and mostly false.
  bool any() const { return any_.load(std::memory_order_relaxed); }

  bool Has(uint64_t nodeid) const {
    const std::lock_guard lock(mutex_);
    return lookups_.contains(nodeid);
  }

  void Add(uint64_t nodeid, uint64_t lookups) {
    const std::lock_guard lock(mutex_);
    lookups_[nodeid] = lookups;
    any_ = true;
  }

  // Takes `count` from the lookup count.
  void Forget(uint64_t nodeid, uint64_t count) {
    const std::lock_guard lock(mutex_);
    const auto found = lookups_.find(nodeid);
    if (found == lookups_.end()) return;
    if (count < found->second)
      found->second -= count;
    else
      lookups_.erase(found);
    any_ = !lookups_.empty();
  }

  void Clear() {
    const std::lock_guard lock(mutex_);
    lookups_.clear();
    any_ = false;
  }

  // By nodeid, with the lookup count.
  std::unordered_map<uint64_t, uint64_t> All() const {
    const std::lock_guard lock(mutex_);
    return lookups_;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, uint64_t> lookups_;
  std::atomic<bool> any_ = false;
};

}  // namespace viewfsd

#endif  // VIEWFSD_LOST_INODES_H_
