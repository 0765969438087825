// SPDX-License-Identifier: Apache-2.0
#include "host/io_uring.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace viewfsd {
namespace {

// Completions wait until the thread enters the kernel anyway, instead of interrupting it (Linux
// 5.19); a flag tells it that some do.
constexpr uint32_t kFlags =
    IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;

int Register(int fd, uint32_t what, const void* argument, uint32_t count) {
  return static_cast<int>(syscall(SYS_io_uring_register, fd, what, argument, count));
}

}  // namespace

void IoUring::Unmap::operator()(void* address) const { munmap(address, size); }

std::unique_ptr<IoUring> IoUring::Create(uint8_t opcode, int wakeup) {
  io_uring_params params = {};
  params.flags = kFlags;
  UniqueFd fd(static_cast<int>(syscall(SYS_io_uring_setup, kIoUringEntries, &params)));
  if (!fd || (params.features & IORING_FEAT_SINGLE_MMAP) == 0) return nullptr;
  std::unique_ptr<IoUring> ring(new IoUring(std::move(fd)));
  if (!ring->Map(params) || !ring->Restrict(opcode, wakeup)) return nullptr;
  return ring;
}

IoUring::~IoUring() = default;

bool IoUring::Map(const io_uring_params& params) {
  const auto map = [this](size_t size, off_t offset) {
    void* address =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), offset);
    return Mapping(address == MAP_FAILED ? nullptr : address, Unmap{size});
  };
  const size_t sq_end = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  const size_t cq_end = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  rings_ = map(std::max(sq_end, cq_end), IORING_OFF_SQ_RING);
  sqes_ = map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  if (rings_ == nullptr || sqes_ == nullptr) return false;
  auto* base = static_cast<uint8_t*>(rings_.get());
  const auto word = [base](uint32_t offset) { return reinterpret_cast<uint32_t*>(base + offset); };
  entries_ = static_cast<io_uring_sqe*>(sqes_.get());
  completions_ = reinterpret_cast<const io_uring_cqe*>(base + params.cq_off.cqes);
  sq_tail_ = word(params.sq_off.tail);
  sq_flags_ = word(params.sq_off.flags);
  cq_head_ = word(params.cq_off.head);
  cq_tail_ = word(params.cq_off.tail);
  cq_flags_ = word(params.cq_off.flags);
  mask_ = params.sq_entries - 1;
  cq_mask_ = params.cq_entries - 1;
  for (uint32_t i = 0; i < params.sq_entries; i++) word(params.sq_off.array)[i] = i;
  Disarm();
  return true;
}

bool IoUring::Restrict(uint8_t opcode, int wakeup) {
  io_uring_restriction allowed = {};
  allowed.opcode = IORING_RESTRICTION_SQE_OP;
  allowed.sqe_op = opcode;
  return Register(fd_.get(), IORING_REGISTER_EVENTFD, &wakeup, 1) == 0 &&
         Register(fd_.get(), IORING_REGISTER_RESTRICTIONS, &allowed, 1) == 0 &&
         Register(fd_.get(), IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0;
}

io_uring_sqe* IoUring::Push() {
  io_uring_sqe* entry = &entries_[tail_++ & mask_];
  memset(entry, 0, sizeof(*entry));
  return entry;
}

void IoUring::Enter() {
  Publish();
  while (tail_ != submitted_) {
    const long taken = syscall(SYS_io_uring_enter, fd_.get(), tail_ - submitted_, 0, 0, nullptr, 0);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) return;
    submitted_ += static_cast<uint32_t>(taken);
  }
}

bool IoUring::HasCompletions() const {
  return Load(cq_tail_) != *cq_head_ || (Load(sq_flags_) & IORING_SQ_TASKRUN) != 0;
}

void IoUring::RunWork() {
  if ((Load(sq_flags_) & IORING_SQ_TASKRUN) == 0) return;
  syscall(SYS_io_uring_enter, fd_.get(), 0, 0, IORING_ENTER_GETEVENTS, nullptr, 0);
}

}  // namespace viewfsd
