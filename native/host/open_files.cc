// SPDX-License-Identifier: Apache-2.0
#include "host/open_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "host/reserve_range.h"

namespace viewfsd {

namespace {

// To be called after a change of `inode.writers()`.
int SettleRanges(SharedDirectory& directory, const Inode& inode) {
  return directory.view_ranges().Settle(
      inode.nodeid(), [&] { return inode.writers().load() > 0; },
      [&](bool writable) {
        return static_cast<int>(OpenMappingFile(directory, inode.nodeid(), writable));
      });
}

}  // namespace

int64_t AddFile(SharedDirectory& directory, uint64_t nodeid, int flags, UniqueFd fd) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY && directory.view_ranges().attached();
  const InodeRef inode = writes ? directory.inodes().Get(nodeid) : InodeRef();
  const bool counted = inode != nullptr;
  int64_t result = 0;
  if (counted) {
    inode->writers()++;
    result = SettleRanges(directory, *inode);
  }
  if (result == 0)
    result =
        directory.handles().Add(std::make_shared<Handle>(nodeid, std::move(fd), false, counted));
  if (result < 0 && counted) {
    inode->writers()--;
    SettleRanges(directory, *inode);
  }
  return result;
}

void CloseFile(SharedDirectory& directory, HandleRef handle) {
  // A guest may have forgotten the inode meanwhile, and come back to it later.
  const InodeRef inode = handle->writes ? directory.inodes().Recall(handle->nodeid) : InodeRef();
  handle.reset();
  if (inode == nullptr) return;
  inode->writers()--;
  SettleRanges(directory, *inode);
}

int64_t OpenMappingFile(SharedDirectory& directory, uint64_t nodeid, bool writable) {
  const InodeRef inode = directory.inodes().Get(nodeid);
  if (inode == nullptr) return -ESTALE;
  if (!S_ISREG(inode->type())) return S_ISDIR(inode->type()) ? -EISDIR : -EINVAL;
  const int fd = directory.Reopen(inode, writable ? O_RDWR : O_RDONLY);
  if (fd != -EACCES) return fd;
  // Like write(2), a mapping goes by what the file was opened for, whatever its mode is by now.
  const HandleRef handle = directory.handles().Find(nodeid, writable);
  if (handle == nullptr) return -EACCES;
  const int copy = fcntl(handle->fd.get(), F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

int64_t OpenMappingRange(SharedDirectory& directory, uint64_t nodeid, bool writable, int64_t offset,
                         int64_t length) {
  const int64_t opened = OpenMappingFile(directory, nodeid, writable);
  if (opened < 0 || !writable || !directory.reserves()) return opened;
  UniqueFd fd(static_cast<int>(opened));
  const int64_t result = ReserveRange(fd.get(), offset, length);
  return result < 0 ? result : fd.release();
}

}  // namespace viewfsd
