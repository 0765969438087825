// SPDX-License-Identifier: Apache-2.0
#include "host/file_handle.h"

#include <linux/magic.h>

#include <cerrno>

#include "host/file_system_types.h"

namespace viewfsd {

namespace {

// include/linux/exportfs.h: 32 bits of inode number, then the generation.
constexpr uint8_t kInode32Generation = 1;
// XFS's own: 64 bits of inode number, then the generation.
constexpr uint8_t kXfsInode64 = 0x81;

union HandleBuffer {
  struct file_handle handle;
  char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

uint32_t U32At(const uint8_t* bytes, size_t offset) {
  uint32_t value;
  memcpy(&value, bytes + offset, sizeof(value));
  return value;
}

}  // namespace

int64_t FileHandle::Get(int directory, const char* name) {
  HandleBuffer buffer;
  buffer.handle.handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (name_to_handle_at(directory, name, &buffer.handle, &mount,
                        *name == '\0' ? AT_EMPTY_PATH : 0) < 0)
    return -errno;
  if (buffer.handle.handle_type < 0 || buffer.handle.handle_type > UINT8_MAX) return -EOPNOTSUPP;
  size_ = static_cast<uint8_t>(1 + buffer.handle.handle_bytes);
  bytes_[0] = static_cast<uint8_t>(buffer.handle.handle_type);
  memcpy(bytes_ + 1, buffer.handle.f_handle, buffer.handle.handle_bytes);
  return mount;
}

bool FileHandle::NamesInode(int64_t file_system, uint64_t number) const {
  if (empty()) return false;
  const uint8_t type = bytes_[0];
  const size_t size = size_ - size_t{1};
  switch (file_system) {
    case EXT4_SUPER_MAGIC:
    case kF2fsMagic:
    case kXfsMagic:
      if (type == kInode32Generation && size == 8) return U32At(bytes_, 1) == number;
      if (file_system == kXfsMagic && type == kXfsInode64 && size >= 12)
        return (U32At(bytes_, 1) | uint64_t{U32At(bytes_, 5)} << 32) == number;
      return false;
    case TMPFS_MAGIC:
      // The generation comes first.
      return type == kInode32Generation && size == 12 &&
             (U32At(bytes_, 5) | uint64_t{U32At(bytes_, 9)} << 32) == number;
    default:
      return false;
  }
}

int FileHandle::Open(int mount, int flags) const {
  HandleBuffer buffer;
  buffer.handle.handle_type = bytes_[0];
  buffer.handle.handle_bytes = size_ - 1u;
  memcpy(buffer.handle.f_handle, bytes_ + 1, buffer.handle.handle_bytes);
  const int fd = open_by_handle_at(mount, &buffer.handle, flags | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

}  // namespace viewfsd
