// SPDX-License-Identifier: Apache-2.0
// The frontend's dirty log while it migrates the guest: a bitmap in shared memory, one bit for each
// 4 KiB of guest-physical memory (vhost-user: VHOST_USER_SET_LOG_BASE, "Migration"). What the
// device has written to since the frontend has last looked has its bit set.
//
// A page is marked after it has been written and before its queue is stopped: the frontend takes
// the bit, then reads the page.
#ifndef VIEWFSD_DIRTY_LOG_H_
#define VIEWFSD_DIRTY_LOG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "memory/guest_buffers.h"
#include "memory/guest_memory.h"
#include "util/unique_fd.h"

namespace viewfsd {

class DirtyLog {
 public:
  DirtyLog();
  ~DirtyLog();

  // --- main thread ---
  // VHOST_F_LOG_ALL. Without a log nothing is marked.
  void SetEnabled(bool enabled);
  // Takes another log: `size` bytes at `offset` of `fd`, which stays the caller's. Once this has
  // returned the one before is not written to any more. Returns 0; EINVAL where the log has not a
  // bit for each page of `table`, ENXIO where the file is shorter; or mmap's errno.
  int SetBase(int fd, uint64_t size, uint64_t offset, const MemoryTable& table);
  // An eventfd that is told of each time that something has been marked, or none. Returns the one
  // before.
  UniqueFd SetSignal(UniqueFd signal);
  int signal_fd() const { return signal_.get(); }
  // Forgets all of that.
  void Reset();

  // --- any thread ---
  bool enabled() const { return enabled_.load(std::memory_order_acquire); }
  // What these buffers have in `table`, whole: nobody tells how far a request that has failed has
  // written.
  void Mark(const MemoryTable& table, const GuestBuffers& buffers);
  // `size` bytes of one region of `table`.
  void Mark(const MemoryTable& table, const void* host, uint64_t size);

 private:
  class Mapping;

  // Needs the mutex.
  void MarkRange(const MemoryTable& table, const void* host, uint64_t size);

  std::atomic<bool> enabled_{false};
  std::mutex mutex_;
  std::unique_ptr<Mapping> log_;
  UniqueFd signal_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_DIRTY_LOG_H_
