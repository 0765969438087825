// SPDX-License-Identifier: Apache-2.0
#include "host/copy_range.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace viewfsd {

namespace {

// Smaller holes are quicker copied than made.
constexpr int64_t kWorthAHole = 64 * 1024;

// Makes a range of the file zeros that take no room. Returns whether that could be done.
bool MakeHole(int fd, int64_t start, int64_t length) {
  struct stat status;
  if (fstat(fd, &status) < 0) return false;
  const int64_t end = start + length;
  const int64_t inside = std::min<int64_t>(end, status.st_size) - start;
  if (inside > 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, inside) < 0)
    return false;
  // Unlike ftruncate this never takes away what somebody else appends meanwhile.
  return end <= status.st_size || fallocate(fd, 0, end - 1, 1) == 0;
}

// Where data begin at or behind `offset`; `end` where none do before it.
int64_t NextData(int fd, int64_t offset, int64_t end) {
  const int64_t data = lseek(fd, offset, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : offset;
  return std::min(data, end);
}

int64_t NextHole(int fd, int64_t offset, int64_t end) {
  const int64_t hole = lseek(fd, offset, SEEK_HOLE);
  return hole < 0 ? end : std::min(hole, end);
}

}  // namespace

int64_t CopyFileRange(int source, int64_t source_offset, int target, int64_t target_offset,
                      int64_t length) {
  struct stat from, to;
  if (fstat(source, &from) < 0 || fstat(target, &to) < 0) return -errno;
  length = std::min<int64_t>(length, from.st_size - source_offset);
  // Each of the calls below would see its own part alone.
  const bool same_file = from.st_dev == to.st_dev && from.st_ino == to.st_ino;
  if (same_file && std::abs(source_offset - target_offset) < length) return -EINVAL;
  const int64_t end = source_offset + length;
  int64_t budget = kMostDataPerCopy;
  int64_t done = 0;
  while (done < length && budget > 0) {
    off64_t in = source_offset + done;
    off64_t out = target_offset + done;
    const int64_t data = NextData(source, in, end);
    if (data - in >= kWorthAHole && MakeHole(target, out, data - in)) {
      done += data - in;
      continue;
    }
    const int64_t stop = data < end ? NextHole(source, data, end) : end;
    const int64_t copied = copy_file_range(source, &in, target, &out,
                                           static_cast<size_t>(std::min(stop - in, budget)), 0);
    if (copied < 0) return done > 0 ? done : -errno;
    if (copied == 0) break;
    done += copied;
    budget -= copied;
  }
  return done;
}

}  // namespace viewfsd
