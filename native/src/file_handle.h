// SPDX-License-Identifier: Apache-2.0
// File handles of the kernel (name_to_handle_at(2)): a name for an inode that costs no descriptor,
// and that never means another inode, since the inode's generation is part of it. A handle goes
// stale with its inode, while a descriptor would keep the inode alive.
#ifndef VIEWFSD_FILE_HANDLE_H_
#define VIEWFSD_FILE_HANDLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "util/unique_fd.h"

namespace viewfsd {

// One mount that the guest has come across. Keeps it from being reused under the same id.
class Mount {
 public:
  // `id`: as statx(2) and name_to_handle_at(2) have it. `path_fd`: an object in the mount, its type
  // as S_IFMT bits; a descriptor is opened from it if that does no harm.
  Mount(uint64_t id, int path_fd, uint32_t type, int proc_fds);

  uint64_t id() const { return id_; }
  // 0 where handles can be made and opened, or -errno.
  int handles() const { return handles_; }
  int fd() const { return fd_.get(); }
  // Whether birth times come from this machine's clock, and a freed inode number that is used again
  // gets a new one.
  bool dated_by_own_clock() const { return own_clock_; }
  int64_t type() const { return file_system_; }

 private:
  const uint64_t id_;
  UniqueFd fd_;
  int handles_;
  int64_t file_system_ = 0;
  bool own_clock_ = false;
};

class FileHandle {
 public:
  // The handle of `name` in `directory`, of a symbolic link itself, or of `directory` where the
  // name is empty. Returns the id of its mount, or -errno.
  int64_t Get(int directory, const char* name);

  bool empty() const { return bytes_.empty(); }
  bool operator==(const FileHandle&) const = default;

  // Whether the handle certainly names inode `number` of that mount's file system. False where the
  // file system's handles are not known to say so.
  bool NamesInode(const Mount& mount, uint64_t number) const;

  // open_by_handle_at(2); a descriptor or -errno. Only O_PATH is harmless for every type of file.
  int Open(const Mount& mount, int flags) const;

 private:
  // The type (one byte is enough for all there are), then what the file system has put in. Most fit
  // a string that allocates nothing.
  std::string bytes_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_HANDLE_H_
