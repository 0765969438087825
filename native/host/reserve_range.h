// SPDX-License-Identifier: Apache-2.0
// Room on the disk for what will be stored in a mapping of a file.
#ifndef VIEWFSD_RESERVE_RANGE_H_
#define VIEWFSD_RESERVE_RANGE_H_

#include <cstdint>

namespace viewfsd {

// Fills the holes of bytes `offset` to `offset + length` of a file that is open for writing, as far
// as the file reaches, so that a store there can't meet a full disk. Returns 0, also where the file
// system can't do that, or -ENOSPC or -EDQUOT, where a part may have been filled.
// What is not used is not given back: no call tells whether somebody has written there meanwhile.
int64_t ReserveRange(int fd, int64_t offset, int64_t length);

}  // namespace viewfsd

#endif  // VIEWFSD_RESERVE_RANGE_H_
