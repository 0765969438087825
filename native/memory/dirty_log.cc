// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty_log.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "memory/guarded_access.h"
#include "util/page_size.h"
#include "util/signal_eventfd.h"

namespace viewfsd {
namespace {

// VHOST_LOG_PAGE, whatever the host's pages are.
constexpr uint64_t kLogPage = 4096;
constexpr uint64_t kPagesPerByte = 8;

// Bytes of a log that has a bit for each page of the table.
uint64_t BytesFor(const MemoryTable& table) {
  uint64_t end = 0;
  for (const auto& region : table.regions())
    end = std::max(end, region->description().guest_address + region->description().size);
  return (end + kLogPage * kPagesPerByte - 1) / (kLogPage * kPagesPerByte);
}

}  // namespace

class DirtyLog::Mapping {
 public:
  Mapping(void* base, size_t size) : base_(base), size_(size) {}
  ~Mapping() { munmap(base_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // What lies beyond the log is not the frontend's guest any more. The log's file may have been
  // truncated.
  void Set(uint64_t first_page, uint64_t last_page) {
    Guarded([=, this] {
      for (uint64_t page = first_page; page <= last_page && page / kPagesPerByte < size_; ++page) {
        auto* byte = static_cast<uint8_t*>(base_) + page / kPagesPerByte;
        __atomic_fetch_or(byte, static_cast<uint8_t>(1u << (page % kPagesPerByte)),
                          __ATOMIC_RELEASE);
      }
    });
  }

 private:
  void* const base_;
  const size_t size_;
};

DirtyLog::DirtyLog() = default;
DirtyLog::~DirtyLog() = default;

void DirtyLog::SetEnabled(bool enabled) { enabled_.store(enabled, std::memory_order_release); }

int DirtyLog::SetBase(int fd, uint64_t size, uint64_t offset, const MemoryTable& table) {
  if (size == 0 || size > SIZE_MAX / 2 || offset % PageSize() != 0 || size < BytesFor(table))
    return EINVAL;
  struct stat file;
  if (fstat(fd, &file) != 0) return errno;
  const auto file_size = static_cast<uint64_t>(file.st_size);
  if (offset > file_size || size > file_size - offset) return ENXIO;
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                    static_cast<off_t>(offset));
  if (base == MAP_FAILED) return errno;
  auto log = std::make_unique<Mapping>(base, size);
  const std::lock_guard lock(mutex_);
  log_.swap(log);
  return 0;
}

UniqueFd DirtyLog::SetSignal(UniqueFd signal) {
  const std::lock_guard lock(mutex_);
  std::swap(signal_, signal);
  return signal;
}

void DirtyLog::Reset() {
  SetEnabled(false);
  const std::lock_guard lock(mutex_);
  log_.reset();
  signal_.reset();
}

void DirtyLog::Mark(const MemoryTable& table, const GuestBuffers& buffers) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < buffers.count; i++)
    if (buffers.pieces[i].iov_base != kBadAddress)
      MarkRange(table, buffers.pieces[i].iov_base, buffers.pieces[i].iov_len);
  if (signal_.valid()) SignalEventFd(signal_.get());
}

void DirtyLog::Mark(const MemoryTable& table, const void* host, uint64_t size) {
  const std::lock_guard lock(mutex_);
  MarkRange(table, host, size);
  if (signal_.valid()) SignalEventFd(signal_.get());
}

void DirtyLog::MarkRange(const MemoryTable& table, const void* host, uint64_t size) {
  if (log_ == nullptr || size == 0) return;
  uint64_t address = 0;
  if (!table.ToGuest(static_cast<const uint8_t*>(host), &address)) return;
  log_->Set(address / kLogPage, (address + size - 1) / kLogPage);
}

}  // namespace viewfsd
