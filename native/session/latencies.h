// SPDX-License-Identifier: Apache-2.0
// How long the requests of one queue's thread have taken, by opcode. The thread alone writes;
// anybody may read and add up.
//
// Reading the clock twice would cost a request that is served from memory more than a hundredth of
// its time. So of those, one of 16 on average, at random, is timed and stands for the ones
// before it; what takes longer by its nature is timed each time.
#ifndef VIEWFSD_SESSION_LATENCIES_H_
#define VIEWFSD_SESSION_LATENCIES_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <ctime>

#include "session/counters.h"

namespace viewfsd {

// Four steps an octave, so that what is read from it is right to a fifth.
class LatencyHistogram {
 public:
  static constexpr unsigned kSteps = 4;
  // What is faster than 2^8 ns counts in the first step, what is slower than 2^36 ns in the last.
  static constexpr unsigned kFirstOctave = 8;
  static constexpr unsigned kOctaves = 28;
  static constexpr size_t kBuckets = size_t{kOctaves} * kSteps;

  static size_t BucketOf(uint64_t nanoseconds) {
    const uint64_t value = std::max(nanoseconds, uint64_t{1} << kFirstOctave);
    const unsigned octave = static_cast<unsigned>(std::bit_width(value)) - 1;
    const size_t step = (value >> (octave - 2)) % kSteps;
    return std::min<size_t>(size_t{octave - kFirstOctave} * kSteps + step, kBuckets - 1);
  }

  void Add(uint64_t nanoseconds, uint32_t requests) {
    buckets_[BucketOf(nanoseconds)].Add(requests);
    sum_.Add(nanoseconds * requests);
  }
  uint64_t bucket(size_t index) const { return buckets_[index].value(); }
  // Nanoseconds of all of them.
  uint64_t sum() const { return sum_.value(); }

 private:
  std::array<FuseCounter, kBuckets> buckets_;
  FuseCounter sum_;
};

class Latencies {
 public:
  Latencies() {
    gap_.fill(1);
    left_.fill(1);
  }

  // Nanoseconds of CLOCK_MONOTONIC.
  static int64_t Now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  }

  // Whether this request, which may be served from memory, is to be timed.
  bool Due(uint32_t opcode) { return --left_[Slot(opcode)] == 0; }
  // One that was due was not served from memory: the next one is due instead.
  void Postpone(uint32_t opcode) { left_[Slot(opcode)] = 1; }
  // One that was due has been. Returns how many requests it stands for.
  uint32_t AddDue(uint32_t opcode, int64_t nanoseconds) {
    const size_t slot = Slot(opcode);
    const uint32_t requests = gap_[slot];
    Add(opcode, nanoseconds, requests);
    random_ = random_ * 1664525 + 1013904223;
    gap_[slot] = static_cast<uint8_t>((random_ >> 24) % (2 * kMeanGap - 1) + 1);
    left_[slot] = gap_[slot];
    return requests;
  }
  void Add(uint32_t opcode, int64_t nanoseconds, uint32_t requests = 1) {
    histograms_[Slot(opcode)].Add(static_cast<uint64_t>(std::max<int64_t>(nanoseconds, 0)),
                                  requests);
  }

  const LatencyHistogram& of(size_t slot) const { return histograms_[slot]; }

 private:
  static constexpr uint32_t kMeanGap = 16;
  static size_t Slot(uint32_t opcode) {
    return std::min<size_t>(opcode, FuseCounters::kOpcodes - 1);
  }

  // By opcode: for how many the next one stands, and how many of these are still to come.
  std::array<uint8_t, FuseCounters::kOpcodes> gap_;
  std::array<uint8_t, FuseCounters::kOpcodes> left_;
  uint32_t random_ = 1;
  std::array<LatencyHistogram, FuseCounters::kOpcodes> histograms_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_SESSION_LATENCIES_H_
