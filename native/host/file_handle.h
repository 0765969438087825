// SPDX-License-Identifier: Apache-2.0
// File handles of the kernel (name_to_handle_at(2)): a name for an inode that costs no descriptor,
// and that never means another inode, since the inode's generation is part of it. A handle goes
// stale with its inode, while a descriptor would keep the inode alive.
#ifndef VIEWFSD_FILE_HANDLE_H_
#define VIEWFSD_FILE_HANDLE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace viewfsd {

class FileHandle {
 public:
  // The handle of `name` in `directory`, of a symbolic link itself, or of `directory` where the
  // name is empty. Returns the id of its mount, or -errno.
  int64_t Get(int directory, const char* name);

  bool empty() const { return bytes_.empty(); }
  bool operator==(const FileHandle&) const = default;

  // Whether the handle certainly names inode `number` of a file system of that type. False where
  // the file system's handles are not known to say so.
  bool NamesInode(int64_t file_system, uint64_t number) const;

  // open_by_handle_at(2), with a descriptor in the mount that is not O_PATH. A descriptor or
  // -errno.
  int Open(int mount, int flags) const;

 private:
  // The type (one byte is enough for all there are), then what the file system has put in. Most fit
  // a string that allocates nothing.
  std::string bytes_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_HANDLE_H_
