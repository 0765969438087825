// SPDX-License-Identifier: Apache-2.0
// The shared directory of a fuzzer: on a file system that ends with the process, with something
// beside it that no guest may see or change.
#ifndef VIEWFSD_FUZZ_SHARE_H_
#define VIEWFSD_FUZZ_SHARE_H_

#include <cstddef>
#include <cstdint>

#include "util/unique_fd.h"

namespace viewfsd::fuzz {

class Share {
 public:
  // What files hold at first, and the guest writes; and what stands beside the share alone.
  static constexpr uint8_t kInside = 'i';
  static constexpr uint8_t kOutside = 'O';

  Share();

  int root() const { return share_.get(); }
  // Everything as at first, whatever the guest and the host have done.
  void Fill();
  // Aborts where the outside is not as it was.
  void CheckOutside() const;
  // Whether an inode number is one of the outside's.
  bool IsOutside(uint64_t number) const;

 private:
  UniqueFd top_;
  UniqueFd share_;
};

// Descriptors that the process has open.
size_t CountDescriptors();

}  // namespace viewfsd::fuzz

#endif  // VIEWFSD_FUZZ_SHARE_H_
