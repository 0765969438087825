// SPDX-License-Identifier: Apache-2.0
#include "host/proc_fds.h"

#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <mutex>

namespace viewfsd {

namespace {

std::mutex mutex;
std::atomic<int> proc_fds{-1};

}  // namespace

void SetProcFds(int fd) { proc_fds.store(fd); }

int ProcFds() {
  if (const int known = proc_fds.load(std::memory_order_acquire); known >= 0) return known;
  const std::lock_guard<std::mutex> lock(mutex);
  if (proc_fds.load() < 0) {
    const int fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    proc_fds.store(fd, std::memory_order_release);
  }
  return proc_fds.load();
}

}  // namespace viewfsd
