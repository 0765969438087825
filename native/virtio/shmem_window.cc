// SPDX-License-Identifier: Apache-2.0
#include "virtio/shmem_window.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace viewfsd {

int ShmemWindow::Map(uint64_t, const WindowRange& range, int fd, bool writable) {
  const std::shared_ptr<Device> device = device_.lock();
  if (device == nullptr) return -ENOTCONN;
  struct stat file;
  if (fstat(fd, &file) != 0) return -errno;
  ShmemRange shown = {};
  shown.moffset = range.moffset;
  shown.length = range.length;
  shown.foffset = range.foffset;
  shown.device = file.st_dev;
  shown.inode = file.st_ino;
  // Beyond the end of a file the frontend decides: one that only calls mmap can do it, QEMU
  // refuses. But never hand out a file with nothing at the offset: QEMU would take an empty one for
  // its own and extend it.
  if (!S_ISREG(file.st_mode) || static_cast<uint64_t>(file.st_size) <= range.foffset) return -ENXIO;
  shown.writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
  if (writable && !shown.writable) return -EACCES;
  return device->ShmemMap(shown, fd);
}

int ShmemWindow::Unmap(std::span<const WindowPart> parts) {
  const std::shared_ptr<Device> device = device_.lock();
  if (device == nullptr) return -ENOTCONN;
  int first = 0;
  for (const WindowPart& part : parts) {
    const int result = device->ShmemUnmap(part.moffset, part.length);
    if (result < 0 && first == 0) first = result;
  }
  return first;
}

}  // namespace viewfsd
