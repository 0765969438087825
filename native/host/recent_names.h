// SPDX-License-Identifier: Apache-2.0
// The names that one thread has looked up within the last second or two, found or not. The kernel
// has them in memory still, so looking one up again on a local file system waits for no disk. To
// ask the kernel itself (RESOLVE_CACHED) costs as much as the lookup.
#ifndef VIEWFSD_RECENT_NAMES_H_
#define VIEWFSD_RECENT_NAMES_H_

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <string_view>

namespace viewfsd {

class RecentNames {
 public:
  // Notes a name of the directory with that nodeid; true where it was noted recently.
  bool Note(uint64_t directory, std::string_view name) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const uint64_t hash = Hash(directory, name);
    Seen& seen = seen_[hash >> (64 - kBits)];
    const bool recent = seen.hash == hash && now.tv_sec - seen.second <= 1;
    seen = {hash, now.tv_sec};
    return recent;
  }

  // The name leads to another file system.
  void Forget(uint64_t directory, std::string_view name) {
    seen_[Hash(directory, name) >> (64 - kBits)] = {};
  }

 private:
  static uint64_t Hash(uint64_t directory, std::string_view name) {
    return (std::hash<std::string_view>()(name) ^ directory) * uint64_t{0x9e3779b97f4a7c15};
  }

  static constexpr int kBits = 10;
  struct Seen {
    uint64_t hash = 0;
    int64_t second = -2;
  };
  std::array<Seen, 1 << kBits> seen_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_RECENT_NAMES_H_
