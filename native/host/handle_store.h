// SPDX-License-Identifier: Apache-2.0
// Where the file handles of inodes are: in their records, as far as they fit there. Needs the inode
// table's mutex, but for Get with a reference to the inode.
#ifndef VIEWFSD_HANDLE_STORE_H_
#define VIEWFSD_HANDLE_STORE_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <unordered_set>

#include "host/file_handle.h"
#include "host/inode_record.h"
#include "host/record_pool.h"
#include "host/table_memory.h"

namespace viewfsd {

class HandleStore {
 public:
  // For `count` inodes.
  static constexpr size_t BytesFor(size_t count) { return RecordPool<LongHandle>::BytesFor(count); }
  HandleStore(TableMemory& memory, size_t count) : long_(memory, count) {}

  // Returns 0 or -ENFILE.
  int Put(InodeRecord& record, const FileHandle& handle) {
    const std::span<const uint8_t> bytes = handle.bytes();
    if (bytes.size() <= InodeRecord::kHandleBytes) {
      memcpy(record.handle, bytes.data(), bytes.size());
    } else {
      const uint32_t index = long_.Take();
      if (index == RecordPool<LongHandle>::kNone) return -ENFILE;
      record.handle[0] = bytes[0];
      memcpy(record.handle + kIndexOffset, &index, sizeof(index));
      memcpy(long_[index].bytes, bytes.data() + 1, bytes.size() - 1);
    }
    record.handle_size = static_cast<uint8_t>(bytes.size());
    return 0;
  }

  FileHandle Get(const InodeRecord& record) const {
    if (!IsLong(record)) return FileHandle({record.handle, record.handle_size});
    uint8_t bytes[FileHandle::kMaxBytes];
    bytes[0] = record.handle[0];
    memcpy(bytes + 1, long_[IndexOf(record)].bytes, record.handle_size - 1);
    return FileHandle({bytes, record.handle_size});
  }

  void Drop(const InodeRecord& record) {
    if (IsLong(record)) long_.Give(IndexOf(record));
  }

  // What these inodes have stays.
  void TakeOver(const RecordPool<InodeRecord>& inodes) {
    std::unordered_set<uint32_t> used;
    inodes.ForEach([&](uint32_t index) {
      if (IsLong(inodes[index])) used.insert(IndexOf(inodes[index]));
    });
    long_.TakeOver([&](uint32_t index) { return used.contains(index); });
  }

 private:
  // Behind the handle's type.
  static constexpr size_t kIndexOffset = 4;

  static bool IsLong(const InodeRecord& record) {
    return record.handle_size > InodeRecord::kHandleBytes;
  }
  static uint32_t IndexOf(const InodeRecord& record) {
    uint32_t index;
    memcpy(&index, record.handle + kIndexOffset, sizeof(index));
    return index;
  }

  RecordPool<LongHandle> long_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_HANDLE_STORE_H_
