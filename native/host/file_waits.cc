// SPDX-License-Identifier: Apache-2.0
#include "host/file_waits.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include "host/file_system_types.h"

namespace viewfsd {

Wait FileWaits::Judge(int fd, Wait local) {
  struct statfs file_system;
  if (fstatfs(fd, &file_system) < 0) return Wait::kMay;
  const auto type = static_cast<uint32_t>(file_system.f_type);
  if (IsMemory(type)) return Wait::kNever;
  const bool cached = (fcntl(fd, F_GETFL) & (O_DIRECT | O_DSYNC)) == 0;
  return cached && IsLocal(type) ? local : Wait::kMay;
}

}  // namespace viewfsd
