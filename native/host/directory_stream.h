// SPDX-License-Identifier: Apache-2.0
// What an open directory has read ahead of its guest. It is in no table that outlives the process:
// without it, a READDIR goes by the offset that it brings.
#ifndef VIEWFSD_DIRECTORY_STREAM_H_
#define VIEWFSD_DIRECTORY_STREAM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

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

}  // namespace viewfsd

#endif  // VIEWFSD_DIRECTORY_STREAM_H_
