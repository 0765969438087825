// SPDX-License-Identifier: Apache-2.0
#include "host/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

namespace viewfsd {

namespace {

// struct linux_dirent64, which getdents64 fills in.
struct KernelEntry {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
  char name[];
};
constexpr size_t kNameOffset = 19;

size_t AlignToEight(size_t size) { return (size + 7) & ~size_t{7}; }

bool IsDots(const char* name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

KernelEntry EntryAt(const DirectoryStream& stream, size_t position) {
  KernelEntry entry;
  memcpy(&entry, stream.buffer->bytes.get() + position, kNameOffset);
  return entry;
}

// Gets more entries into the buffer. Returns their bytes, 0 at the end, or -errno.
int64_t Refill(const HandleRef& handle, DirectoryStream& stream) {
  if (stream.buffer == nullptr) stream.buffer = std::make_unique<StreamBuffer>();
  stream.position = stream.length = 0;
  stream.begin = stream.offset;
  const long length =
      syscall(SYS_getdents64, handle.fd(), stream.buffer->bytes.get(), StreamBuffer::kSize);
  const int64_t result = length < 0 ? -errno : length;
  if (length > 0)
    stream.length = static_cast<size_t>(length);
  else
    stream.buffer.reset();
  return result;
}

// Goes to an offset of the buffer. False where it is none.
bool FindInBuffer(DirectoryStream& stream, int64_t offset) {
  if (stream.buffer == nullptr) return false;
  size_t position = 0;
  if (stream.begin != offset) {
    int64_t before;
    do {
      if (position == stream.length) return false;
      const KernelEntry entry = EntryAt(stream, position);
      position += entry.reclen;
      before = entry.off;
    } while (before != offset);
  }
  stream.position = position;
  stream.offset = offset;
  return true;
}

int64_t Seek(const HandleRef& handle, DirectoryStream& stream, int64_t offset) {
  if (stream.offset == offset) return 0;
  // Whoever goes back to the start wants to see what is new.
  if (offset != 0 && FindInBuffer(stream, offset)) return 0;
  stream.position = stream.length = 0;
  stream.offset.reset();
  if (lseek64(handle.fd(), offset, SEEK_SET) >= 0) {
    stream.offset = offset;
    return 0;
  }
  if (offset >= 0 || errno != EINVAL) return -errno;
  if (lseek64(handle.fd(), 0, SEEK_SET) < 0) return -errno;
  do {
    const int64_t length = Refill(handle, stream);
    if (length <= 0) return length < 0 ? length : -EINVAL;
  } while (!FindInBuffer(stream, offset));
  return 0;
}

// Gives the buffer back where too many are kept, and forgets what is left in it.
void DropExcess(DirectoryStream& stream) {
  if (stream.buffer == nullptr || StreamBuffer::count() <= StreamBuffer::kMaxKept) return;
  stream.buffer.reset();
  stream.position = stream.length = 0;
  stream.offset.reset();
}

}  // namespace

int64_t ReadDirectory(SharedDirectory& directory, uint64_t nodeid, uint64_t fh, int64_t offset,
                      bool plus, uint8_t* out, size_t size) {
  const HandleRef handle = directory.handles().Get(fh, nodeid, HandleKind::kDirectory);
  if (handle == nullptr) return -EBADF;
  InodeRef known = directory.inodes().Get(nodeid);
  if (known == nullptr) return -ESTALE;
  // Needs no descriptor but its own.
  const InodeUse inode(std::move(known), handle.fd());
  DirectoryStream& stream = handle.stream();
  const std::lock_guard lock(stream.mutex);
  if (const int64_t result = Seek(handle, stream, offset); result < 0) return result;

  const size_t head = plus ? sizeof(fuse_entry_out) + sizeof(fuse_dirent) : sizeof(fuse_dirent);
  const bool mount_points = inode->mount()->MayHaveMountsBelow();
  size_t written = 0;
  for (;;) {
    if (stream.position == stream.length) {
      // A guest whose reader had no room for all goes on in the middle of this reply. Such an
      // offset is found in this buffer, or by reading from the start again.
      if (written > 0 && stream.offset < 0) break;
      const int64_t length = Refill(handle, stream);
      // An error after some entries comes again with the next request.
      if (length <= 0) return written > 0 ? static_cast<int64_t>(written) : length;
    }
    const KernelEntry next = EntryAt(stream, stream.position);
    const char* name = stream.buffer->bytes.get() + stream.position + kNameOffset;
    const size_t name_length = strlen(name);
    const size_t needed = AlignToEight(head + name_length);
    if (needed > size - written) break;

    uint8_t* place = out + written;
    memset(place + needed - 8, 0, 8);
    fuse_entry_out entry = {};
    if (plus) {
      // Nodeid 0: the guest takes the name and makes no inode. So it is for names that have gone
      // since, and for what can't be looked up. The Windows driver makes a list of it all the same.
      if (IsDots(name) || directory.LookupListed(inode, name, next.ino, &entry) < 0) {
        entry = {};
        entry.attr.mode = DTTOIF(next.type);
      }
      memcpy(place, &entry, sizeof(entry));
      place += sizeof(entry);
    }
    fuse_dirent dirent;
    // What lies above the shared directory is none of the guest's business, nor, in the guest's own
    // mount of a submount, what lies above that.
    const bool is_root = nodeid == InodeTable::kRootNodeid || inode->submount();
    if (is_root && IsDots(name))
      dirent.ino = directory.NumberOf(*inode);
    else if (entry.nodeid != 0)
      dirent.ino = entry.attr.ino;
    else
      dirent.ino = directory.NumberListed(inode, name, next.ino, next.type, mount_points);
    dirent.off = static_cast<uint64_t>(next.off);
    dirent.namelen = static_cast<uint32_t>(name_length);
    dirent.type = next.type;
    memcpy(place, &dirent, sizeof(dirent));
    memcpy(place + sizeof(dirent), name, name_length);

    written += needed;
    stream.position += next.reclen;
    stream.offset = next.off;
  }
  DropExcess(stream);
  return written > 0 ? static_cast<int64_t>(written) : -EINVAL;
}

}  // namespace viewfsd
