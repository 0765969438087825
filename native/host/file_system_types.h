// SPDX-License-Identifier: Apache-2.0
// f_type of statfs(2), where linux/magic.h lacks it.
#ifndef VIEWFSD_FILE_SYSTEM_TYPES_H_
#define VIEWFSD_FILE_SYSTEM_TYPES_H_

#include <cstdint>

namespace viewfsd {

constexpr int64_t kBcachefsMagic = 0xca451a4e;
constexpr int64_t kBtrfsMagic = 0x9123683e;
constexpr int64_t kF2fsMagic = 0xf2f52010;
constexpr int64_t kXfsMagic = 0x58465342;

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_SYSTEM_TYPES_H_
