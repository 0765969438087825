// SPDX-License-Identifier: Apache-2.0
// The readable or the writable part of a request: pieces of guest memory, in order. Reading and
// writing them is guarded (guarded_access.h): memory that is not there any more is an error of this
// request, not of the process.
#ifndef VIEWFSD_GUEST_BUFFERS_H_
#define VIEWFSD_GUEST_BUFFERS_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace viewfsd {

// A descriptor's buffer that no region holds: no access can succeed there, and the kernel's check
// of user addresses fails it with EFAULT.
inline void* const kBadAddress = reinterpret_cast<void*>(uintptr_t{0xffff800000000000});

// Borrowed: the pieces, and the memory that they are of, outlive it.
struct GuestBuffers {
  const iovec* pieces = nullptr;
  size_t count = 0;
  // Bytes in all.
  uint64_t size = 0;

  // The part [offset, offset + length), up to IOV_MAX pieces of it. Returns the pieces written to
  // `out` and, in `*taken`, their bytes.
  int Slice(uint64_t offset, uint64_t length, iovec* out, uint64_t* taken) const;

  // Copies `length` bytes that stand at `offset`, which must be within `size`. False where some of
  // them can't be reached; what was copied until then is undefined.
  bool CopyOut(uint64_t offset, uint8_t* local, uint64_t length) const;
  bool CopyIn(uint64_t offset, const uint8_t* local, uint64_t length) const;
};

}  // namespace viewfsd

#endif  // VIEWFSD_GUEST_BUFFERS_H_
