// SPDX-License-Identifier: Apache-2.0
// An io_uring instance that can do one kind of operation and nothing else: io_uring_setup(2). Its
// operations pass by the system call filter, so the kernel is told beforehand which it shall be
// (IORING_REGISTER_RESTRICTIONS).
#ifndef VIEWFSD_IO_URING_H_
#define VIEWFSD_IO_URING_H_

#include <linux/io_uring.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "util/io_uring_entries.h"
#include "util/unique_fd.h"

namespace viewfsd {

// Used by one thread at a time, whichever.
class IoUring {
 public:
  // `opcode`: the one that it can do. `wakeup`: an eventfd that completions are added to while it
  // is armed; stays the caller's. Null where there is none to be had: an old kernel, a filter,
  // kernel.io_uring_disabled.
  static std::unique_ptr<IoUring> Create(uint8_t opcode, int wakeup);
  ~IoUring();
  IoUring(const IoUring&) = delete;
  IoUring& operator=(const IoUring&) = delete;

  // A cleared entry for the next operation, which Submit hands to the kernel. There are
  // kIoUringEntries; no more may be out before Submit.
  io_uring_sqe* Push();
  uint32_t unsubmitted() const { return tail_ - submitted_; }
  // Calls returned(user_data) for each operation that the kernel does not take.
  template <typename Returned>
  void Submit(Returned returned) {
    Enter();
    for (; tail_ != submitted_; tail_--) returned(entries_[(tail_ - 1) & mask_].user_data);
    Publish();
  }

  bool HasCompletions() const;
  // Calls completed(user_data, result) for each that is there.
  template <typename Completed>
  void Take(Completed completed) {
    RunWork();
    uint32_t head = *cq_head_;
    for (const uint32_t tail = Load(cq_tail_); head != tail; head++) {
      const io_uring_cqe& entry = completions_[head & cq_mask_];
      completed(entry.user_data, entry.res);
    }
    std::atomic_ref(*cq_head_).store(head, std::memory_order_release);
  }

  // Whether completions are to be told by the eventfd. They are not at first.
  void Arm() { std::atomic_ref(*cq_flags_).store(0); }
  void Disarm() { std::atomic_ref(*cq_flags_).store(IORING_CQ_EVENTFD_DISABLED); }

 private:
  struct Unmap {
    size_t size;
    void operator()(void* address) const;
  };
  using Mapping = std::unique_ptr<void, Unmap>;

  explicit IoUring(UniqueFd fd) : fd_(std::move(fd)) {}
  static uint32_t Load(const uint32_t* shared) {
    return std::atomic_ref(*const_cast<uint32_t*>(shared)).load(std::memory_order_acquire);
  }
  bool Map(const io_uring_params& params);
  bool Restrict(uint8_t opcode, int wakeup);
  void Publish() { std::atomic_ref(*sq_tail_).store(tail_, std::memory_order_release); }
  // Hands over what is in the queue; `submitted_` says how far the kernel got.
  void Enter();
  void RunWork();

  const UniqueFd fd_;
  Mapping rings_;
  Mapping sqes_;
  io_uring_sqe* entries_ = nullptr;
  const io_uring_cqe* completions_ = nullptr;
  uint32_t* sq_tail_ = nullptr;
  const uint32_t* sq_flags_ = nullptr;
  uint32_t* cq_head_ = nullptr;
  const uint32_t* cq_tail_ = nullptr;
  uint32_t* cq_flags_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t cq_mask_ = 0;
  uint32_t tail_ = 0;
  uint32_t submitted_ = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_IO_URING_H_
