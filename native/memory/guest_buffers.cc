// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_buffers.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "memory/guarded_access.h"

namespace viewfsd {
namespace {

// Calls copy(guest memory, position in the range, bytes) for each piece of a range. False on a
// fault. `copy` may own nothing: see RunGuarded.
template <typename Copy>
bool Walk(const GuestBuffers& buffers, uint64_t offset, uint64_t length, Copy copy) {
  bool reachable = true;
  const bool intact = Guarded([=, &buffers, &reachable]() mutable {
    uint64_t done = 0;
    for (size_t i = 0; i < buffers.count && done < length; i++) {
      const iovec& piece = buffers.pieces[i];
      if (offset >= piece.iov_len) {
        offset -= piece.iov_len;
        continue;
      }
      if (piece.iov_base == kBadAddress) {
        reachable = false;
        return;
      }
      const uint64_t bytes = std::min<uint64_t>(piece.iov_len - offset, length - done);
      copy(static_cast<uint8_t*>(piece.iov_base) + offset, done, bytes);
      done += bytes;
      offset = 0;
    }
  });
  return intact && reachable;
}

}  // namespace

int GuestBuffers::Slice(uint64_t offset, uint64_t length, iovec* out, uint64_t* taken) const {
  int filled = 0;
  *taken = 0;
  for (size_t i = 0; i < count && length > 0 && filled < IOV_MAX; i++) {
    if (offset >= pieces[i].iov_len) {
      offset -= pieces[i].iov_len;
      continue;
    }
    const uint64_t bytes = std::min<uint64_t>(pieces[i].iov_len - offset, length);
    // The bad address must stay bad whatever the offset.
    void* base = pieces[i].iov_base == kBadAddress
                     ? kBadAddress
                     : static_cast<uint8_t*>(pieces[i].iov_base) + offset;
    out[filled++] = {base, bytes};
    *taken += bytes;
    length -= bytes;
    offset = 0;
  }
  return filled;
}

bool GuestBuffers::CopyOut(uint64_t offset, uint8_t* local, uint64_t length) const {
  return Walk(*this, offset, length, [local](const uint8_t* guest, uint64_t at, uint64_t bytes) {
    memcpy(local + at, guest, bytes);
  });
}

bool GuestBuffers::CopyIn(uint64_t offset, const uint8_t* local, uint64_t length) const {
  return Walk(*this, offset, length, [local](uint8_t* guest, uint64_t at, uint64_t bytes) {
    memcpy(guest, local + at, bytes);
  });
}

}  // namespace viewfsd
