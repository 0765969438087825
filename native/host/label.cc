// SPDX-License-Identifier: Apache-2.0
#include "host/label.h"

#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "host/xattr.h"

namespace viewfsd {

int64_t SetLabel(SharedDirectory& directory, uint64_t nodeid, mode_t type, const char* name,
                 const void* value, size_t size) {
  const std::string* host_name = directory.FindLabelName(name);
  if (host_name == nullptr) return -EPERM;
  const int64_t result = SetXattr(directory, nodeid, host_name->c_str(), value, size, 0, false);
  const bool bare = !S_ISREG(type) && !S_ISDIR(type) && host_name->starts_with("user.");
  return result == -EPERM && bare ? 0 : result;
}

}  // namespace viewfsd
