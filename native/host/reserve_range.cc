// SPDX-License-Identifier: Apache-2.0
#include "host/reserve_range.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace viewfsd {

int64_t ReserveRange(int fd, int64_t offset, int64_t length) {
  struct stat status;
  if (fstat(fd, &status) < 0) return 0;
  const int64_t end = std::min<int64_t>(offset + length, status.st_size);
  // A file without holes keeps its times.
  const int64_t hole = lseek(fd, offset, SEEK_HOLE);
  if (hole < 0 || hole >= end) return 0;
  int result;
  do {
    result = fallocate(fd, FALLOC_FL_KEEP_SIZE, hole, end - hole);
  } while (result < 0 && errno == EINTR);
  return result < 0 && (errno == ENOSPC || errno == EDQUOT) ? -errno : 0;
}

}  // namespace viewfsd
