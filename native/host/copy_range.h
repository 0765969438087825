// SPDX-License-Identifier: Apache-2.0
// copy_file_range(2) for a guest: holes stay holes, and no call takes long.
#ifndef VIEWFSD_COPY_RANGE_H_
#define VIEWFSD_COPY_RANGE_H_

#include <cstdint>

namespace viewfsd {

// The most data that one call copies; holes do not count. The rest is for the next call: whoever
// asks for more must not keep the other requests of a queue waiting.
constexpr int64_t kMostDataPerCopy = int64_t{256} << 20;

// Copies up to `length` bytes between two different ranges of open files, whose positions it moves.
// Returns the bytes copied, 0 at the end of `source`, or -errno.
int64_t CopyFileRange(int source, int64_t source_offset, int target, int64_t target_offset,
                      int64_t length);

}  // namespace viewfsd

#endif  // VIEWFSD_COPY_RANGE_H_
