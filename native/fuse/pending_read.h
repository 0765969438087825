// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_FUSE_PENDING_READ_H_
#define VIEWFSD_FUSE_PENDING_READ_H_

#include <cstdint>

#include "host/handle_table.h"

namespace viewfsd {

// What a READ is about that is not done yet.
struct PendingRead {
  // Keeps the descriptor open.
  HandleRef handle;
  // Bytes of the file, from where, and how many of them the guest's buffers have already.
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t done = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_PENDING_READ_H_
