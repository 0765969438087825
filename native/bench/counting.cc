// SPDX-License-Identifier: Apache-2.0
// What counting costs a request that is served from memory: CPU nanoseconds of all that
// RequestServer does for its counters, its latency and the hot inodes, without the request. Prints
// the quartiles of rounds that take turns with an empty loop, which is subtracted.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>

#include "session/counters.h"
#include "session/hot_inodes.h"
#include "session/latencies.h"

namespace viewfsd {
namespace {

constexpr int kRequests = 200'000;
constexpr size_t kRounds = 401;
constexpr uint32_t kOpcode = FUSE_GETATTR;
constexpr uint64_t kInodes = 1000;

double CpuNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Tables {
  Latencies latencies;
  HotInodes hot;
  FuseCounters counters;
};

void Count(Tables* tables, uint64_t nodeid) {
  const bool due = tables->latencies.Due(kOpcode);
  const int64_t began = due ? Latencies::Now() : 0;
  asm volatile("" ::: "memory");
  if (began != 0) {
    const uint32_t stands_for = tables->latencies.AddDue(kOpcode, Latencies::Now() - began);
    tables->hot.Add(kOpcode, nodeid, stands_for);
  }
  tables->counters.OfOpcode(kOpcode).Add();
}

double Round(Tables* tables) {
  const double before = CpuNanoseconds();
  for (uint64_t i = 0; i < kRequests; i++) {
    asm volatile("" ::: "memory");
    if (tables != nullptr) Count(tables, 1 + i % kInodes);
  }
  return (CpuNanoseconds() - before) / kRequests;
}

}  // namespace
}  // namespace viewfsd

int main() {
  const auto tables = std::make_unique<viewfsd::Tables>();
  std::array<double, viewfsd::kRounds> costs;
  for (double& cost : costs) {
    const double with = viewfsd::Round(tables.get());
    cost = with - viewfsd::Round(nullptr);
  }
  std::ranges::sort(costs);
  constexpr size_t kQuarter = viewfsd::kRounds / 4;
  printf("ns a request: %.2f %.2f %.2f\n", costs[kQuarter], costs[2 * kQuarter],
         costs[3 * kQuarter]);
}
