// SPDX-License-Identifier: Apache-2.0
// The files and directories that the guest has open: fh -> descriptor, as flat records. Shared by
// the threads of all request queues; a descriptor closes with the last reference to its handle, so
// a RELEASE on another queue can't close it under a system call.
#ifndef VIEWFSD_HANDLE_TABLE_H_
#define VIEWFSD_HANDLE_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "host/directory_stream.h"
#include "host/file_waits.h"
#include "host/given_log.h"
#include "host/inode_table.h"
#include "host/record_index.h"
#include "host/record_pool.h"
#include "host/table_memory.h"
#include "util/unique_fd.h"

namespace viewfsd {

enum class HandleKind : uint8_t { kFile, kDirectory };

// What the guest has open as a flat record, which counts from the moment that `fh` is set, with one
// store, and until it is 0 again.
struct HandleRecord {
  // What the record of fh 0 has, which only another daemon gives out (virtiofsd, its first).
  static constexpr uint64_t kZero = UINT64_MAX;

  std::atomic<uint64_t> fh = 0;
  // The inode that it was opened from.
  uint64_t nodeid = 0;
  int32_t fd = -1;
  // The table's own, as long as there is an fh, and one for each HandleRef.
  std::atomic<uint32_t> references = 1;
  uint32_t next_by_fh = 0;
  HandleKind kind = HandleKind::kFile;
  // Counted in Inode::writers().
  bool writes = false;
  // Files only.
  FileWaits waits;
};
static_assert(sizeof(HandleRecord) == 32);
static_assert(std::is_standard_layout_v<HandleRecord>);
static_assert(std::is_trivially_destructible_v<HandleRecord>);

class HandleTable;

// An open handle, or none; its descriptor stays open as long as this object.
class HandleRef {
 public:
  HandleRef() = default;
  HandleRef(HandleRef&& other) noexcept
      : table_(other.table_),
        record_(std::exchange(other.record_, nullptr)),
        stream_(other.stream_) {}
  HandleRef& operator=(HandleRef&& other) noexcept {
    std::swap(table_, other.table_);
    std::swap(record_, other.record_);
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~HandleRef();

  bool operator==(std::nullptr_t) const { return record_ == nullptr; }
  int fd() const { return record_->fd; }
  FileWaits& waits() const { return record_->waits; }
  // Directories only.
  DirectoryStream& stream() const { return *stream_; }

 private:
  friend class HandleTable;

  HandleRef(HandleTable* table, HandleRecord* record, DirectoryStream* stream)
      : table_(table), record_(record), stream_(stream) {}

  HandleTable* table_ = nullptr;
  HandleRecord* record_ = nullptr;
  DirectoryStream* stream_ = nullptr;
};

// What has been a handle, or nothing. The descriptor closes with it, or with the last HandleRef.
struct ReleasedHandle {
  // 0 for nothing.
  uint64_t nodeid = 0;
  bool writes = false;
  UniqueFd fd;
  std::unique_ptr<DirectoryStream> stream;
};

class HandleTable {
 public:
  static size_t BytesFor(size_t limit);
  // For what `limit` descriptors allow. `memory` and `budget` outlive the table.
  HandleTable(TableMemory& memory, size_t limit, DescriptorBudget& budget);
  ~HandleTable() { Clear(); }

  // Returns the new handle's fh; never one that was used before. `writes`: it is counted in the
  // inode's writers(). -ENFILE where the guest has as many descriptors as it may, -ENOTCONN for a
  // request of an older session (guest_session.h). `reserved`: the fh that it gets; -EEXIST where
  // another one has it.
  int64_t Add(uint64_t nodeid, UniqueFd fd, HandleKind kind, bool writes = false,
              std::optional<uint64_t> reserved = {});

  // The fh that the next new handle gets.
  uint64_t next_fh();
  // Those below `next` belong to a guest that has them from elsewhere.
  void Reserve(uint64_t next);

  // Null unless `fh` is an open handle of that inode and kind.
  HandleRef Get(uint64_t fh, uint64_t nodeid, HandleKind kind);

  // A file of that inode that is open for reading, and for writing where that is wanted; null if
  // there is none. Looks at all handles.
  HandleRef Find(uint64_t nodeid, bool writable);

  // Takes the handle out; nothing where there is none.
  ReleasedHandle Remove(uint64_t fh, uint64_t nodeid, HandleKind kind);

  struct Open {
    uint64_t fh;
    uint64_t nodeid;
    HandleKind kind;
  };
  // Those of one block of the table, for whoever goes through all without holding anybody up:
  // `*place`, first 0, becomes the next one, or 0 at the end.
  std::vector<Open> From(size_t* place);

  void Clear();

  // In tables that another process has left at any instant, once the inodes are taken over.
  void TakeOver(InodeTable& inodes);

  // Visits the descriptor of each handle.
  template <typename Visit>
  void ForEachDescriptor(Visit visit) {
    const std::lock_guard lock(mutex_);
    records_.ForEach([&](uint32_t index) {
      if (records_[index].fh != 0) visit(records_[index].fd);
    });
  }

  size_t size();

 private:
  friend class HandleRef;

  struct ByFh {
    static uint64_t Hash(uint64_t fh) { return fh; }
    static uint64_t HashOf(const HandleRecord& record) { return record.fh; }
    static bool Has(const HandleRecord& record, uint64_t fh) { return record.fh == fh; }
    static uint32_t& Next(HandleRecord& record) { return record.next_by_fh; }
  };
  // What follows from no record.
  struct State {
    // How many fhs have been given out.
    uint64_t fhs;
  };

  // The last reference is gone.
  void Drop(HandleRecord& record);

  // All of these need the mutex.
  // 0 for none.
  uint32_t FindOpen(uint64_t fh, uint64_t nodeid, HandleKind kind) const;
  HandleRef Refer(uint32_t index);
  void PutStream(uint32_t index, std::unique_ptr<DirectoryStream> stream);
  ReleasedHandle Take(uint32_t index);
  void Free(uint32_t index, ReleasedHandle* released);

  DescriptorBudget& budget_;
  std::mutex mutex_;
  State* const state_;
  RecordPool<HandleRecord> records_;
  RecordIndex<HandleRecord, ByFh> by_fh_;
  GivenLog given_;
  // Of directories, by the index of their record.
  std::vector<std::unique_ptr<DirectoryStream>> streams_;
};

inline HandleRef::~HandleRef() {
  if (record_ != nullptr && record_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    table_->Drop(*record_);
}

}  // namespace viewfsd

#endif  // VIEWFSD_HANDLE_TABLE_H_
