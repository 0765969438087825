// SPDX-License-Identifier: Apache-2.0
#include "file_handle.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace viewfsd {

namespace {

// include/linux/exportfs.h: 32 bits of inode number, then the generation.
constexpr uint8_t kInode32Generation = 1;
// XFS's own: 64 bits of inode number, then the generation.
constexpr uint8_t kXfsInode64 = 0x81;
constexpr int64_t kF2fsMagic = 0xf2f52010;
constexpr int64_t kXfsMagic = 0x58465342;
constexpr int64_t kBtrfsMagic = 0x9123683e;

union HandleBuffer {
  struct file_handle handle;
  char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

uint32_t U32At(const std::string& bytes, size_t offset) {
  uint32_t value;
  memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

Mount::Mount(uint64_t id, int path_fd, uint32_t type, int proc_fds)
    : id_(id), handles_(-EOPNOTSUPP) {
  // open_by_handle_at takes no O_PATH descriptor, and only these two can be opened without effect.
  if (S_ISDIR(type)) {
    fd_.reset(openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else if (S_ISREG(type)) {
    char name[16] = {};
    std::to_chars(name, name + sizeof(name) - 1, path_fd);
    fd_.reset(openat(proc_fds, name, O_RDONLY | O_CLOEXEC | O_NOCTTY));
  } else {
    return;
  }
  if (!fd_) {
    handles_ = -errno;
    return;
  }
  struct statfs status;
  if (fstatfs(fd_.get(), &status) == 0) file_system_ = static_cast<uint32_t>(status.f_type);
  own_clock_ = file_system_ == EXT4_SUPER_MAGIC || file_system_ == kXfsMagic ||
               file_system_ == kBtrfsMagic || file_system_ == TMPFS_MAGIC ||
               file_system_ == kF2fsMagic;
  FileHandle probe;
  const int64_t mount = probe.Get(path_fd, "");
  if (mount < 0 || static_cast<uint64_t>(mount) != id) {
    handles_ = mount < 0 ? static_cast<int>(mount) : -EOPNOTSUPP;
    return;
  }
  const UniqueFd opened(probe.Open(*this, O_PATH));
  handles_ = opened ? 0 : opened.get();
}

int64_t FileHandle::Get(int directory, const char* name) {
  HandleBuffer buffer;
  buffer.handle.handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (name_to_handle_at(directory, name, &buffer.handle, &mount,
                        *name == '\0' ? AT_EMPTY_PATH : 0) < 0)
    return -errno;
  if (buffer.handle.handle_type < 0 || buffer.handle.handle_type > UINT8_MAX) return -EOPNOTSUPP;
  bytes_.clear();
  bytes_.reserve(1 + buffer.handle.handle_bytes);
  bytes_.push_back(static_cast<char>(buffer.handle.handle_type));
  bytes_.append(reinterpret_cast<const char*>(buffer.handle.f_handle), buffer.handle.handle_bytes);
  return mount;
}

bool FileHandle::NamesInode(const Mount& mount, uint64_t number) const {
  if (bytes_.empty()) return false;
  const uint8_t type = static_cast<uint8_t>(bytes_[0]);
  const size_t size = bytes_.size() - 1;
  switch (mount.type()) {
    case EXT4_SUPER_MAGIC:
    case kF2fsMagic:
    case kXfsMagic:
      if (type == kInode32Generation && size == 8) return U32At(bytes_, 1) == number;
      if (mount.type() == kXfsMagic && type == kXfsInode64 && size >= 12)
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

int FileHandle::Open(const Mount& mount, int flags) const {
  HandleBuffer buffer;
  buffer.handle.handle_type = static_cast<uint8_t>(bytes_[0]);
  buffer.handle.handle_bytes = static_cast<unsigned>(bytes_.size() - 1);
  memcpy(buffer.handle.f_handle, bytes_.data() + 1, bytes_.size() - 1);
  const int fd = open_by_handle_at(mount.fd(), &buffer.handle, flags | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

}  // namespace viewfsd
