// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_FUSE_COMPONENT_H_
#define VIEWFSD_FUSE_COMPONENT_H_

#include <cstdint>

namespace viewfsd {

// Finds the name of a directory entry at the start of `bytes`. Returns 0, -EINVAL (no NUL, empty,
// ".", "..", a slash) or -ENAMETOOLONG (more than 255 bytes).
int TakeComponent(const uint8_t* bytes, uint32_t size, const char** name);

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_COMPONENT_H_
