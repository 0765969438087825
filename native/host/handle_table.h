// SPDX-License-Identifier: Apache-2.0
// The files and directories that the guest has open: fh -> descriptor. Shared by the threads of all
// request queues; a descriptor closes with the last reference to its handle, so a RELEASE on
// another queue can't close it under a system call.
#ifndef VIEWFSD_HANDLE_TABLE_H_
#define VIEWFSD_HANDLE_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "host/file_waits.h"
#include "host/inode_table.h"
#include "util/unique_fd.h"

namespace viewfsd {

// What one getdents64 brings: some hundred entries.
struct StreamBuffer {
  static constexpr size_t kSize = 32 * 1024;
  // A guest that stops in the middle of so many directories makes the next ones read again, so that
  // the memory that it can take does not grow with its open directories.
  static constexpr size_t kMaxKept = 1024;

  StreamBuffer() : bytes(new char[kSize]) { count_.fetch_add(1, std::memory_order_relaxed); }
  ~StreamBuffer() { count_.fetch_sub(1, std::memory_order_relaxed); }
  StreamBuffer(const StreamBuffer&) = delete;
  StreamBuffer& operator=(const StreamBuffer&) = delete;

  // Of the whole process.
  static size_t count() { return count_.load(std::memory_order_relaxed); }

  const std::unique_ptr<char[]> bytes;

 private:
  static inline std::atomic<size_t> count_{0};
};

// Entries that getdents64 has brought, and those of them that READDIR has not taken yet. Offsets
// are the host's; some file systems' are negative, and can't be sought.
struct DirectoryStream {
  std::mutex mutex;
  // Null where there are none.
  std::unique_ptr<StreamBuffer> buffer;
  size_t position = 0;
  size_t length = 0;
  // The offsets of the buffer's first entry and of the next one to take. No value: the next READDIR
  // has to seek.
  std::optional<int64_t> begin;
  std::optional<int64_t> offset = 0;
};

struct Handle {
  Handle(uint64_t owner, UniqueFd descriptor, bool is_directory, bool for_writing = false)
      : nodeid(owner), fd(std::move(descriptor)), writes(for_writing) {
    if (is_directory) stream = std::make_unique<DirectoryStream>();
  }

  // The inode that it was opened from.
  const uint64_t nodeid;
  const UniqueFd fd;
  // Counted in Inode::writers().
  const bool writes;
  // Files only.
  FileWaits waits;
  // Directories only.
  std::unique_ptr<DirectoryStream> stream;
};

using HandleRef = std::shared_ptr<Handle>;

enum class HandleKind { kFile, kDirectory };

class HandleTable {
 public:
  explicit HandleTable(DescriptorBudget& budget) : budget_(budget) {}

  // Returns the new handle's fh; never one that was used before. -ENFILE where the guest has as
  // many descriptors as it may, -ENOTCONN for a request of an older session (guest_session.h).
  int64_t Add(HandleRef handle);

  // Null unless `fh` is an open handle of that inode and kind.
  HandleRef Get(uint64_t fh, uint64_t nodeid, HandleKind kind);

  // A file of that inode that is open for reading, and for writing where that is wanted; null if
  // there is none. Looks at all handles.
  HandleRef Find(uint64_t nodeid, bool writable);

  // Takes the handle out. The caller's reference is the last one unless it is in use elsewhere.
  HandleRef Remove(uint64_t fh, uint64_t nodeid, HandleKind kind);

  void Clear();

  size_t size();

 private:
  DescriptorBudget& budget_;
  std::mutex mutex_;
  std::unordered_map<uint64_t, HandleRef> handles_;
  uint64_t next_fh_ = 1;
};

}  // namespace viewfsd

#endif  // VIEWFSD_HANDLE_TABLE_H_
