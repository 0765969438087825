// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into viewfsd, it makes mapping free: the first range that is asked for maps the whole view to memory that is there, and
 * every later call to map or unmap is answered and not done. The guest reads zeros then, and what is left of a miss is its own work,
 * its exits, and requests that do nothing.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memory_view.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void map_all(int control_fd) {
  struct memview_info info;
  if (syscall(SYS_ioctl, control_fd, MEMVIEW_GET_INFO, &info) < 0) err(1, "MEMVIEW_GET_INFO");
  int memory = memfd_create("null-view", MFD_CLOEXEC);
  if (memory < 0 || fallocate(memory, 0, 0, (off_t)info.size) < 0) err(1, "memfd of %llu bytes", info.size);
  struct memview_map_fd_info map = {.fd = memory, .size = info.size, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE};
  if (syscall(SYS_ioctl, control_fd, MEMVIEW_MAP_FD, &map) < 0) err(1, "MEMVIEW_MAP_FD");
  close(memory);
}

int ioctl(int fd, unsigned long request, ...) {
  static int mapped;
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  switch (request) {
  case MEMVIEW_MAP_FD:
    if (!__atomic_exchange_n(&mapped, 1, __ATOMIC_SEQ_CST)) map_all(fd);
    return 0;
  case MEMVIEW_UNMAP_FD:
  case MEMVIEW_UNMAP_FDS:
    return 0;
  default:
    return (int)syscall(SYS_ioctl, fd, request, argument);
  }
}
