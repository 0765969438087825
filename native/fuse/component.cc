// SPDX-License-Identifier: Apache-2.0
#include "fuse/component.h"

#include <cerrno>
#include <cstring>

#include "host/shared_directory.h"

namespace viewfsd {

// NAME_MAX of Linux.
constexpr size_t kNameMax = 255;

int TakeComponent(const uint8_t* bytes, uint32_t size, const char** name) {
  const char* text = reinterpret_cast<const char*>(bytes);
  const size_t length = strnlen(text, size);
  if (length == size) return -EINVAL;
  if (length > kNameMax && memchr(text, '/', length) == nullptr) return -ENAMETOOLONG;
  if (!IsComponent(text, length)) return -EINVAL;
  *name = text;
  return 0;
}

}  // namespace viewfsd
