// SPDX-License-Identifier: Apache-2.0
// READs that have to wait for a local disk, given to the kernel (io_uring): it reads into the
// guest's buffers while the queue's thread serves others, many at once and without another thread.
// What it does not take, or gives back, goes to the pool (request_pool.h).
//
//   queue's thread: DataPlane::Read ── Add ──► Submit (many at once) ──► kernel ── Take ──► queue's
//   thread: ring
#ifndef VIEWFSD_FUSE_READ_RING_H_
#define VIEWFSD_FUSE_READ_RING_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fuse/pending_read.h"
#include "fuse/request_pool.h"
#include "host/io_uring.h"

namespace viewfsd {

// Of one queue's thread, but for InProgress.
class ReadRing {
 public:
  // `wakeup`: an eventfd that the thread sleeps on; stays the caller's. Null where there is no
  // io_uring. To be called before the sandbox's doors are closed.
  static std::unique_ptr<ReadRing> Create(int wakeup);

  // False where all places are taken. Then nothing has been done, and both stay the caller's.
  bool Add(PutOffRef& request, PendingRead& read);
  // Whether Submit has something to do.
  bool has_unsubmitted() const { return ring_->unsubmitted() > 0; }
  // Whether there are so many that the disk should not wait for more of them.
  bool is_full_batch() const { return ring_->unsubmitted() >= kBatch; }
  void Submit();

  // Whether there is something to take.
  bool empty() const { return returned_.empty() && !ring_->HasCompletions(); }
  // Appends the requests that have been served; one with Answer::Kind::kPutOff has not been, and
  // shall wait elsewhere. Returns how many have.
  template <typename Requests>
  uint64_t Take(Requests& served) {
    if (empty()) return 0;
    Collect();
    for (PutOffRef& request : returned_) served.push_back(std::move(request));
    returned_.clear();
    return std::exchange(served_, 0);
  }
  // Until Disarm, what has been served wakes the thread; false where there is something already.
  bool Arm();
  void Disarm() { ring_->Disarm(); }

  // Any thread.
  std::vector<PooledInProgress> InProgress();

 private:
  struct Place {
    PutOffRef request;
    PendingRead read;
    // For the kernel, until Submit.
    std::vector<iovec> pieces;
    // Guarded by mutex_; `since` is 0 where the place is free.
    PooledInProgress shown = {};
  };

  // To enter the kernel for each costs more; for all of a deep queue at once, the disk idles
  // meanwhile.
  static constexpr uint32_t kBatch = 4;

  explicit ReadRing(std::unique_ptr<IoUring> ring);
  void Push(size_t place);
  void Collect();
  void Return(size_t place, Answer answer);

  const std::unique_ptr<IoUring> ring_;
  std::array<Place, kIoUringEntries> places_;
  std::vector<uint8_t> free_;
  std::vector<PutOffRef> returned_;
  uint64_t served_ = 0;
  std::mutex mutex_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_READ_RING_H_
