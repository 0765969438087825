// SPDX-License-Identifier: Apache-2.0
// File handles of the kernel (name_to_handle_at(2)): a name for an inode that costs no descriptor,
// and that never means another inode, since the inode's generation is part of it. A handle goes
// stale with its inode, while a descriptor would keep the inode alive.
#ifndef VIEWFSD_FILE_HANDLE_H_
#define VIEWFSD_FILE_HANDLE_H_

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace viewfsd {

class FileHandle {
 public:
  static constexpr size_t kMaxBytes = 1 + MAX_HANDLE_SZ;

  FileHandle() = default;
  // From what `bytes()` was.
  explicit FileHandle(std::span<const uint8_t> bytes) : size_(static_cast<uint8_t>(bytes.size())) {
    memcpy(bytes_, bytes.data(), bytes.size());
  }
  FileHandle(const FileHandle& other) : FileHandle(other.bytes()) {}
  FileHandle& operator=(const FileHandle& other) {
    size_ = other.size_;
    memmove(bytes_, other.bytes_, size_);
    return *this;
  }

  // The handle of `name` in `directory`, of a symbolic link itself, or of `directory` where the
  // name is empty. Returns the id of its mount, or -errno.
  int64_t Get(int directory, const char* name);

  bool empty() const { return size_ == 0; }
  bool operator==(const FileHandle& other) const {
    return size_ == other.size_ && memcmp(bytes_, other.bytes_, size_) == 0;
  }
  // The type (one byte is enough for all there are), then what the file system has put in.
  std::span<const uint8_t> bytes() const { return {bytes_, size_}; }

  // Whether the handle certainly names inode `number` of a file system of that type. False where
  // the file system's handles are not known to say so.
  bool NamesInode(int64_t file_system, uint64_t number) const;

  // open_by_handle_at(2), with a descriptor in the mount that is not O_PATH. A descriptor or
  // -errno.
  int Open(int mount, int flags) const;

 private:
  uint8_t size_ = 0;
  uint8_t bytes_[kMaxBytes];
};

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_HANDLE_H_
