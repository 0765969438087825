// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_UTIL_IO_URING_ENTRIES_H_
#define VIEWFSD_UTIL_IO_URING_ENTRIES_H_

#include <cstdint>

namespace viewfsd {

// How many operations a ring of ours asks room for. No power of two, unlike what libuv asks for: by
// it the launcher's filter tells them apart (sandbox/launcher/io_uring.h).
constexpr uint32_t kIoUringEntries = 255;

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_IO_URING_ENTRIES_H_
