// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_UTIL_SIGNAL_EVENTFD_H_
#define VIEWFSD_UTIL_SIGNAL_EVENTFD_H_

#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace viewfsd {

// Adds 1 to an eventfd; a full counter is no error (whoever waits wakes up anyway).
inline void SignalEventFd(int fd) {
  const uint64_t one = 1;
  while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_SIGNAL_EVENTFD_H_
