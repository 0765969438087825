// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_UTIL_COARSE_CLOCK_H_
#define VIEWFSD_UTIL_COARSE_CLOCK_H_

#include <cstdint>
#include <ctime>

namespace viewfsd {

// Nanoseconds of CLOCK_MONOTONIC as of the last tick, a few milliseconds ago at most; costs next to
// nothing.
inline int64_t CoarseNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_COARSE_CLOCK_H_
