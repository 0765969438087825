// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BENCH_MEASURE_H_
#define VIEWFSD_BENCH_MEASURE_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "bench/operation.h"

namespace viewfsd::bench {

// All in nanoseconds, but for the first.
struct Cost {
  uint64_t operations = 0;
  uint64_t wall = 0;
  // Of the daemon's processes.
  uint64_t daemon = 0;
  // Of the frontend itself.
  uint64_t frontend = 0;
};

struct Load {
  // Operations on their way at once, over all queues.
  size_t depth;
  // Looks for completions all the time instead of sleeping until the daemon signals one.
  bool polls;
  uint64_t nanoseconds;
};

// A process and all that it has started.
std::vector<pid_t> ProcessTree(pid_t pid);

// Runs an operation over and over for about the time that is asked for, after a tenth of it that is
// not measured.
Cost Measure(Session& session, Operation& operation, const Load& load,
             const std::vector<pid_t>& daemon);

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_MEASURE_H_
