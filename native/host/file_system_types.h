// SPDX-License-Identifier: Apache-2.0
// f_type of statfs(2), where linux/magic.h lacks it, and what it says.
#ifndef VIEWFSD_FILE_SYSTEM_TYPES_H_
#define VIEWFSD_FILE_SYSTEM_TYPES_H_

#include <linux/magic.h>

#include <cstdint>

namespace viewfsd {

constexpr int64_t kBcachefsMagic = 0xca451a4e;
constexpr int64_t kBtrfsMagic = 0x9123683e;
constexpr int64_t kF2fsMagic = 0xf2f52010;
constexpr int64_t kXfsMagic = 0x58465342;

// Those that keep everything on this machine, so that what is in its memory never has to be
// fetched.
constexpr bool IsLocal(int64_t type) {
  return type == EXT4_SUPER_MAGIC || type == kXfsMagic || type == kBtrfsMagic ||
         type == TMPFS_MAGIC || type == kF2fsMagic;
}

// Those that are memory, and nothing else.
constexpr bool IsMemory(int64_t type) {
  return type == TMPFS_MAGIC || type == RAMFS_MAGIC || type == HUGETLBFS_MAGIC;
}

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_SYSTEM_TYPES_H_
