// SPDX-License-Identifier: Apache-2.0
// What one queue's thread has served. It alone writes; anybody may read and add up.
#ifndef VIEWFSD_FUSE_COUNTERS_H_
#define VIEWFSD_FUSE_COUNTERS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace viewfsd {

class FuseCounter {
 public:
  void Add(uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct FuseCounters {
  // Opcodes from the last slot on share it.
  static constexpr size_t kOpcodes = 64;

  std::array<FuseCounter, kOpcodes> requests;
  // Replies with an error, and requests that were void.
  FuseCounter errors;
  // Bytes that READ moved to the guest, and that WRITE took from it.
  FuseCounter bytes_read;
  FuseCounter bytes_written;
  // Successful SETUPMAPPINGs, upgrades and other replacements included; those of them that allowed
  // writing; those that got an error; and entries of successful REMOVEMAPPINGs.
  FuseCounter mappings_set_up;
  FuseCounter mappings_set_up_writable;
  FuseCounter mappings_refused;
  FuseCounter mappings_removed;

  FuseCounter& OfOpcode(uint32_t opcode) {
    return requests[std::min<size_t>(opcode, kOpcodes - 1)];
  }
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_COUNTERS_H_
