// SPDX-License-Identifier: Apache-2.0
// What a frontend shows where in a window that it maps itself, range by range. The frontend can
// neither replace nor split a mapping, so each is all or nothing here as well.
#ifndef VIEWFSD_SHMEM_RANGES_H_
#define VIEWFSD_SHMEM_RANGES_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

namespace viewfsd {

struct ShmemRange {
  uint64_t moffset;
  uint64_t length;
  dev_t device;
  ino_t inode;
  uint64_t foffset;
  bool writable;
};

class ShmemRanges {
 public:
  // What a map request means for the window as it is.
  enum class Verdict {
    kMap,       // the range is free
    kPresent,   // it already shows just that, with at least that access
    kConflict,  // something else is there, which could only be replaced with a hole in between
  };

  Verdict Judge(const ShmemRange& wanted) const;
  // The range must be free.
  void Insert(const ShmemRange& range);
  void Erase(uint64_t moffset);
  // The mappings that lie wholly in [moffset, moffset + length). False, and none, where one lies in
  // it partly.
  bool Covered(uint64_t moffset, uint64_t length, std::vector<ShmemRange>* covered) const;
  // Whether a live mapping shows this file.
  bool Shows(dev_t device, ino_t inode) const;
  void Clear() { ranges_.clear(); }

  const std::map<uint64_t, ShmemRange>& ranges() const { return ranges_; }

 private:
  bool Overlaps(uint64_t moffset, uint64_t length) const;

  // By moffset; disjoint.
  std::map<uint64_t, ShmemRange> ranges_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_SHMEM_RANGES_H_
