// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_UTIL_PAGE_SIZE_H_
#define VIEWFSD_UTIL_PAGE_SIZE_H_

#include <unistd.h>

#include <cstdint>

namespace viewfsd {

// The host's page size in bytes: 4 KiB on x86-64, up to 64 KiB on arm64.
inline uint64_t PageSize() {
  static const uint64_t size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_PAGE_SIZE_H_
