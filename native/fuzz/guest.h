// SPDX-License-Identifier: Apache-2.0
// A guest's memory as the guest and its frontend see it, and an independent reading of its rings:
// what a chain is by the specification, for comparison with what the device makes of it.
//
//   memfd   region 0 | secret page | region 1 (cut short) | secret | region 2 ... | honest region
//   GPA     0x10000                 adjacent to region 0            a hole before    far away
//
// All that lies outside of the regions is secret: it must never change and never be seen inside.
#ifndef VIEWFSD_FUZZ_GUEST_H_
#define VIEWFSD_FUZZ_GUEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "memory/guest_memory.h"
#include "util/unique_fd.h"

namespace viewfsd::fuzz {

struct Segment {
  uint64_t address;
  uint32_t length;
};

struct Chain {
  uint16_t head = 0;
  std::vector<Segment> readable;
  std::vector<Segment> writable;
};

// Where a ring lies, by guest-physical address.
struct RingPlace {
  uint64_t descriptors;
  uint64_t available;
  uint64_t used;
  uint32_t size;
  uint64_t UsedEnd() const { return used + 6 + 8 * uint64_t{size}; }
};

constexpr uint64_t kUserBase = 0x7000'0000'0000;
constexpr size_t kRegionCount = 4;
// The region whose memory the hostile queue never names: the honest queue's.
constexpr size_t kHonestRegion = 3;

class Guest {
 public:
  Guest();
  ~Guest();

  int fd() const { return memfd_.get(); }
  static const std::array<RegionDescription, kRegionCount>& regions();

  // What the memory table has.
  void SetPresent(size_t region, bool present) { present_[region] = present; }
  bool present(size_t region) const { return present_[region]; }
  void Truncate(size_t size);

  // False where some of it is in no region, or cut off.
  bool Read(uint64_t address, void* bytes, size_t size) const;
  bool Write(uint64_t address, const void* bytes, size_t size);
  template <typename Number>
  Number Get(uint64_t address) const {
    Number number = 0;
    Read(address, &number, sizeof(number));
    return number;
  }
  template <typename Number>
  void Put(uint64_t address, Number number) {
    Write(address, &number, sizeof(number));
  }

  // The chain that the available ring has at `index`. None where it breaks a rule.
  std::optional<Chain> Parse(const RingPlace& ring, uint16_t index, bool indirect) const;
  // The bytes [offset, offset + size) of segments; none where some can't be read.
  std::optional<std::vector<uint8_t>> Gather(const std::vector<Segment>& segments, uint64_t offset,
                                             uint64_t size) const;

  // All bytes as they are now, to be compared later.
  void Remember();
  // Checks that only the allowed ranges have changed since Remember. They may be in a region that
  // was removed: a request that was set aside is answered where it came from.
  void CheckChanges(const std::vector<Segment>& allowed) const;
  // Checks that no secret has changed or got into a region. Nothing may be cut off.
  void CheckSecrets() const;

 private:
  // The place in the memfd, and how much of `size` is there in a row. Nothing where no region is.
  std::optional<size_t> Locate(uint64_t address, size_t size, size_t* contiguous,
                               bool removed_too = false) const;

  UniqueFd memfd_;
  uint8_t* bytes_;
  size_t size_;
  std::array<bool, kRegionCount> present_;
  std::vector<uint8_t> before_;
};

// Fills bytes with what no input can know.
void FillSecret(uint8_t* bytes, size_t size);

}  // namespace viewfsd::fuzz

#endif  // VIEWFSD_FUZZ_GUEST_H_
