// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_VIEW_IOCTL_H_
#define VIEWFSD_VIEW_IOCTL_H_

#include <sys/ioctl.h>

#include <cerrno>

namespace viewfsd {

// A call of the memory-view driver: its result, or -errno.
inline int ViewIoctl(int fd, unsigned long request, void* argument) {
  int result;
  do result = ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

}  // namespace viewfsd

#endif  // VIEWFSD_VIEW_IOCTL_H_
