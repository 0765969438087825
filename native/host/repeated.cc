// SPDX-License-Identifier: Apache-2.0
#include "host/repeated.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include "host/shared_directory.h"

namespace viewfsd {
namespace {

thread_local int64_t begun_before = kNotRepeated;

constexpr int64_t kSecond = 1'000'000'000;

bool IsSince(const statx_timestamp& time) {
  return time.tv_sec * kSecond + time.tv_nsec >= begun_before;
}

// Whether the inode has been changed since then. The change time moves with its names, too.
bool ChangedSince(int directory, const char* name, struct statx* status) {
  return Status(directory, name, STATX_BASIC_STATS | STATX_BTIME, status) == 0 &&
         IsSince(status->stx_ctime);
}

}  // namespace

void SetRepeated(int64_t begun) { begun_before = begun; }

bool IsRepeated() { return begun_before > 0; }

int64_t RealtimeNow() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

int64_t Made(int result, int directory, const char* name, mode_t type) {
  if (result >= 0) return 0;
  const int error = errno;
  struct statx status;
  if (error != EEXIST || !IsRepeated() || !ChangedSince(directory, name, &status)) return -error;
  const bool born = (status.stx_mask & STATX_BTIME) == 0 || IsSince(status.stx_btime);
  return born && (status.stx_mode & S_IFMT) == type ? 0 : -error;
}

int64_t Linked(int result, int directory, const char* name, int fd) {
  if (result >= 0) return 0;
  const int error = errno;
  struct statx status;
  struct statx wanted;
  const bool same = error == EEXIST && IsRepeated() && ChangedSince(directory, name, &status) &&
                    Status(fd, "", STATX_INO, &wanted) == 0 && status.stx_ino == wanted.stx_ino &&
                    status.stx_dev_major == wanted.stx_dev_major &&
                    status.stx_dev_minor == wanted.stx_dev_minor;
  return same ? 0 : -error;
}

bool Renamed(int from, const char* name, int to, const char* new_name, uint32_t flags) {
  struct statx source;
  struct statx target;
  if (!IsRepeated() || !ChangedSince(to, new_name, &target)) return false;
  const int found = Status(from, name, STATX_BASIC_STATS, &source);
  if ((flags & RENAME_EXCHANGE) != 0) return found == 0 && IsSince(source.stx_ctime);
  if ((flags & RENAME_WHITEOUT) != 0)
    return found == 0 && S_ISCHR(source.stx_mode) && source.stx_rdev_major == 0 &&
           source.stx_rdev_minor == 0;
  return found == -ENOENT;
}

}  // namespace viewfsd
