// SPDX-License-Identifier: Apache-2.0
#include "request_server.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

#include "guarded_access.h"
#include "util/signal_eventfd.h"

namespace viewfsd {
namespace {

// include/uapi/linux/fuse.h
enum Opcode : uint32_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kRead = 15,
  kWrite = 16,
  kRelease = 18,
  kReleasedir = 29,
  kInterrupt = 36,
  kBatchForget = 42,
};
constexpr size_t kInHeader = 40;
constexpr size_t kOutHeader = 16;
constexpr size_t kWriteHeaders = 80;  // fuse_in_header and fuse_write_in

struct OutHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};
static_assert(sizeof(OutHeader) == kOutHeader);

// A guest that gets one interrupt per batch of 32 waits too long for the first; one per request
// costs too much.
constexpr uint32_t kSignalBatch = 8;

// Whether a request of this kind announces finished work by itself, should it be about to block.
// These come in batches, and mostly need not wait for anything.
bool Announces(uint32_t opcode) {
  switch (opcode) {
    case kLookup:
    case kForget:
    case kGetattr:
    case kRead:
    case kWrite:
    case kRelease:
    case kReleasedir:
    case kInterrupt:
    case kBatchForget:
      return true;
    default:
      return false;
  }
}

// How long to look for the next request before sleeping. Two misses in a row say that the other
// side is not about to send more (or shares this CPU); then the next thousand waits sleep at once.
constexpr std::chrono::microseconds kSpin{40};
constexpr uint32_t kSpinMisses = 2;
constexpr uint32_t kWaitsWithoutSpin = 1000;

// How many requests are refused before Next returns.
constexpr uint32_t kRefusals = 64;

void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The part [offset, offset + size) of a list of buffers, up to IOV_MAX pieces of it. Returns the
// pieces written and, in
// `*taken`, their bytes.
int Slice(const iovec* pieces, size_t count, uint64_t offset, uint64_t size, iovec* out,
          uint64_t* taken) {
  int filled = 0;
  *taken = 0;
  for (size_t i = 0; i < count && size > 0 && filled < IOV_MAX; i++) {
    if (offset >= pieces[i].iov_len) {
      offset -= pieces[i].iov_len;
      continue;
    }
    const uint64_t length = std::min<uint64_t>(pieces[i].iov_len - offset, size);
    // The bad address must stay bad whatever the offset.
    void* base = pieces[i].iov_base == kBadAddress
                     ? kBadAddress
                     : static_cast<uint8_t*>(pieces[i].iov_base) + offset;
    out[filled++] = {base, length};
    *taken += length;
    size -= length;
    offset = 0;
  }
  return filled;
}

enum class Direction { kFromGuest, kToGuest };

// Copies between `local` and a list of buffers that holds at least offset + size bytes. False on a
// fault.
bool CopyPieces(Direction direction, const iovec* pieces, size_t count, uint64_t offset,
                uint8_t* local, uint64_t size) {
  bool reachable = true;
  const bool intact = Guarded([=, &reachable]() mutable {
    for (size_t i = 0; i < count && size > 0; i++) {
      if (offset >= pieces[i].iov_len) {
        offset -= pieces[i].iov_len;
        continue;
      }
      const uint64_t length = std::min<uint64_t>(pieces[i].iov_len - offset, size);
      if (pieces[i].iov_base == kBadAddress) {
        reachable = false;
        return;
      }
      uint8_t* guest = static_cast<uint8_t*>(pieces[i].iov_base) + offset;
      if (direction == Direction::kFromGuest)
        memcpy(local, guest, length);
      else
        memcpy(guest, local, length);
      local += length;
      size -= length;
      offset = 0;
    }
  });
  return intact && reachable;
}

}  // namespace

RequestServer::RequestServer(std::shared_ptr<Device> device, uint32_t worker, uint8_t* request,
                             uint8_t* reply)
    : device_(std::move(device)),
      port_(device_->workers()[worker].get()),
      request_(request),
      reply_(reply) {
  InstallFaultHandlers();
  for (const uint32_t index : port_->queues)
    uses_.push_back({device_->queues()[index].get(), index});
  cpu_set_t cpus;
  may_spin_ = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

RequestServer::~RequestServer() {
  for (QueueUse& use : uses_) Leave(&use);
  LeaveSession(device_->sessions());
  if (of_thread == this) of_thread = nullptr;
}

// Lets the ring point into the present memory table. False, with `*reason`, where it is not there.
bool RequestServer::Attach(QueueUse* use, const char** reason) {
  if (use->table != nullptr && use->generation == device_->memory().generation()) return true;
  uint64_t generation = 0;
  Snapshot table = device_->memory().Get(&generation);
  const auto is_window = [this](const Region& region) { return device_->IsWindow(region); };
  if (use->generation != generation && !use->queue->ring.Attach(*table, is_window, reason))
    return false;
  use->table = std::move(table);
  use->generation = generation;
  return true;
}

// Takes the queue for this thread, where main lets it.
bool RequestServer::Enter(QueueUse* use) {
  Queue* queue = use->queue;
  if (!queue->runnable.load(std::memory_order_relaxed)) return false;
  queue->in_use.store(true);
  if (!queue->runnable.load() || queue->broken.load()) {
    device_->Leave(queue);
    return false;
  }
  use->entered = true;
  const uint32_t start_count = queue->start_count.load();
  const bool fresh = use->start_count != start_count;
  if (fresh) {
    queue->ring.Configure(queue->size, queue->addresses, device_->event_idx(), device_->indirect());
    use->generation = 0;
    use->unsignalled = 0;
  }
  use->start_count = start_count;
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return false;
  }
  if ((fresh && !queue->ring.Resume(queue->base, &reason)) || !queue->ring.DisableKicks()) {
    Break(use, reason != nullptr ? reason : "the used ring can't be written");
    return false;
  }
  return true;
}

void RequestServer::Leave(QueueUse* use) {
  if (!use->entered) return;
  EndDeferred(use, true);
  // The ring may have turned out to be broken.
  if (!use->entered) return;
  Signal(use);
  LetGo(use);
}

void RequestServer::LetGo(QueueUse* use) {
  // What has not been completed has no buffers without the table.
  if (current_ == use) current_ = nullptr;
  use->entered = false;
  use->table.reset();
  device_->Leave(use->queue);
}

void RequestServer::Break(QueueUse* use, const char* reason) {
  EndDeferred(use, false);
  Signal(use);
  device_->Break(use->queue, reason);
  LetGo(use);
}

// Tries to make a request of this queue the current one.
RequestServer::Taken RequestServer::Take(QueueUse* use) {
  if (use->entered && !use->queue->runnable.load(std::memory_order_acquire)) Leave(use);
  if (!use->entered && !Enter(use)) return Taken::kNothing;
  if (use->given_back && device_->Interrupted()) return Taken::kNothing;
  use->given_back = false;
  Queue* queue = use->queue;
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return Taken::kNothing;
  }
  switch (queue->ring.Pop(*use->table, &chain_, &reason)) {
    case SplitVirtqueue::PopResult::kEmpty:
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kBroken:
      Break(use, reason);
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kChain:
      break;
  }
  session_ = EnterSession(device_->sessions());
  queue->base = queue->ring.next_available();
  queue->requests.fetch_add(1, std::memory_order_relaxed);
  current_ = use;
  if (ReadRequest()) return Taken::kRequest;
  queue->refused.fetch_add(1, std::memory_order_relaxed);
  return Taken::kRefused;
}

// Copies the current request in. False where it was refused and completed.
bool RequestServer::ReadRequest() {
  const uint64_t size = chain_.readable_size;
  const auto refuse = [this](int error) {
    if (chain_.writable_size >= kOutHeader)
      ReplyError(error);
    else
      Complete(0);
    return false;
  };
  memset(request_, 0, kInHeader);
  if (size < kInHeader) return refuse(EINVAL);
  const size_t first = std::min<uint64_t>(size, kWriteHeaders);
  if (!CopyPieces(Direction::kFromGuest, chain_.readable, chain_.readable_count, 0, request_,
                  first)) {
    memset(request_, 0, kInHeader);
    return refuse(EFAULT);
  }
  uint32_t opcode;
  memcpy(&opcode, request_ + 4, 4);
  // Room for part of a header: nothing that could be answered.
  if (chain_.writable_size > 0 && chain_.writable_size < kOutHeader) return refuse(EINVAL);
  request_size_ = static_cast<uint32_t>(first);
  payload_size_ = 0;
  if (opcode == kWrite) {
    payload_size_ = static_cast<uint32_t>(size - first);
  } else if (size > kRequestBytes) {
    return refuse(ENOMEM);
  } else if (size > first) {
    if (!CopyPieces(Direction::kFromGuest, chain_.readable, chain_.readable_count, first,
                    request_ + first, size - first))
      return refuse(EFAULT);
    request_size_ = static_cast<uint32_t>(size);
  }
  of_thread = this;
  if (!Announces(opcode)) SignalAll();
  return true;
}

int RequestServer::Next(int timeout_ms) {
  if (current_ != nullptr) ReplyError(EIO);
  uint32_t refusals = 0;
  for (;;) {
    if (device_->shutting_down()) {
      for (QueueUse& use : uses_) Leave(&use);
      return kStopped;
    }
    // A guest can fill a queue faster than it is emptied, so after each request, refused or not, a
    // stop of any queue is granted and shutdown is seen.
    for (QueueUse& use : uses_)
      if (use.entered && !use.queue->runnable.load(std::memory_order_acquire)) Leave(&use);
    // In turns, so that neither queue keeps the other waiting for more than one request.
    Taken taken = Taken::kNothing;
    for (size_t i = 0; i < uses_.size() && taken == Taken::kNothing; i++) {
      const size_t place = (turn_ + i) % uses_.size();
      taken = Take(&uses_[place]);
      if (taken != Taken::kNothing) turn_ = place + 1;
      if (taken == Taken::kRequest) return static_cast<int>(uses_[place].index);
    }
    if (taken == Taken::kRefused && ++refusals < kRefusals) continue;
    SignalAll();
    // A ring can feed itself: with a used ring in place of the available one, or replies that go
    // there. The caller has other things to look after, too.
    if (taken == Taken::kRefused) return kTimedOut;
    if (SpinForWork()) continue;
    if (!PrepareWait()) continue;
    port_->waits.fetch_add(1, std::memory_order_relaxed);
    epoll_event events[4];
    int count;
    do count = epoll_wait(port_->epoll.get(), events, 4, timeout_ms);
    while (count < 0 && errno == EINTR);
    if (count == 0) return kTimedOut;
  }
}

// Whether there is a request that can be served now. FinishStop wakes whoever waits for that.
bool RequestServer::HasWork(const QueueUse& use) const {
  return use.queue->ring.HasWork() && !(use.given_back && device_->Interrupted());
}

bool RequestServer::SpinForWork() {
  if (!may_spin_) return false;
  if (spin_misses_ >= kSpinMisses) {
    if (++waits_without_spin_ < kWaitsWithoutSpin) return false;
    waits_without_spin_ = 0;
    spin_misses_ = 0;
  }
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; i++) {
      for (QueueUse& use : uses_) {
        if (!use.entered) continue;
        if (!use.queue->runnable.load(std::memory_order_relaxed)) return true;
        if (HasWork(use)) {
          spin_misses_ = 0;
          port_->spin_hits.fetch_add(1, std::memory_order_relaxed);
          return true;
        }
      }
      Relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  spin_misses_++;
  return false;
}

// Lets go of everything before a sleep: a stop needs no hand-over then, and an old memory table can
// be unmapped. False where a request came in meanwhile.
bool RequestServer::PrepareWait() {
  for (QueueUse& use : uses_) {
    if (!use.entered) continue;
    if (!use.queue->ring.EnableKicks()) {
      Break(&use, "the used ring can't be written");
      continue;
    }
    if (HasWork(use)) {
      use.queue->ring.DisableKicks();
      return false;
    }
  }
  // A queue with requests that were set aside stays: their replies need the ring as it is.
  for (QueueUse& use : uses_)
    if (use.deferred == 0) Leave(&use);
  return true;
}

void RequestServer::Signal(QueueUse* use) {
  if (use->unsignalled == 0) return;
  use->unsignalled = 0;
  if (!use->queue->ring.ShouldSignal()) return;
  use->queue->signals.fetch_add(1, std::memory_order_relaxed);
  // Main may exchange the descriptor at any time; with the lock held, no completion goes to an old
  // one afterwards.
  const std::lock_guard lock(use->queue->mutex);
  if (use->queue->call.valid()) SignalEventFd(use->queue->call.get());
}

bool RequestServer::Waits() const {
  return std::any_of(uses_.begin(), uses_.end(),
                     [](const QueueUse& use) { return use.unsignalled > 0; });
}

void RequestServer::SignalAll() {
  for (QueueUse& use : uses_) Signal(&use);
}

void RequestServer::Complete(uint32_t written) {
  QueueUse* use = current_;
  current_ = nullptr;
  Finish(use, chain_.head, written);
}

int64_t RequestServer::Defer() {
  if (current_ == nullptr || chain_.writable_size < kOutHeader) return -EINVAL;
  if (deferred_.size() >= kMaxDeferred) return -ENOLCK;
  Deferred deferred = {current_, chain_.head, 0, {}, current_->table};
  memcpy(&deferred.unique, request_ + 8, 8);
  deferred.reply.resize(kOutHeader);
  uint64_t taken = 0;
  const int count =
      Slice(chain_.writable, chain_.writable_count, 0, kOutHeader, deferred.reply.data(), &taken);
  deferred.reply.resize(static_cast<size_t>(count));
  const uint32_t number = next_deferred_++;
  deferred_.emplace(number, std::move(deferred));
  current_->deferred++;
  // Completions before it must not wait for it.
  Signal(current_);
  current_ = nullptr;
  return number;
}

int64_t RequestServer::CompleteDeferred(uint32_t number, int error) {
  const auto found = deferred_.find(number);
  if (found == deferred_.end()) return -ENOENT;
  const Deferred deferred = std::move(found->second);
  deferred_.erase(found);
  deferred.use->deferred--;
  // The queue may have waited for long, and its ring have been moved meanwhile.
  const char* reason = nullptr;
  if (!Attach(deferred.use, &reason)) {
    Break(deferred.use, reason);
    return 0;
  }
  OutHeader header = {kOutHeader, -error, deferred.unique};
  const bool written = CopyPieces(Direction::kToGuest, deferred.reply.data(), deferred.reply.size(),
                                  0, reinterpret_cast<uint8_t*>(&header), kOutHeader);
  Finish(deferred.use, deferred.head, written ? kOutHeader : 0);
  Signal(deferred.use);
  return 0;
}

// All of a queue's requests that were set aside: EAGAIN, or forgotten where the ring is broken.
void RequestServer::EndDeferred(QueueUse* use, bool answer) {
  std::vector<uint32_t> numbers;
  for (const auto& [number, deferred] : deferred_)
    if (deferred.use == use) numbers.push_back(number);
  for (const uint32_t number : numbers) {
    if (answer) {
      CompleteDeferred(number, EAGAIN);
    } else {
      deferred_.erase(number);
      use->deferred = 0;
    }
  }
}

void RequestServer::Finish(QueueUse* use, uint16_t head, uint32_t written) {
  if (!use->queue->ring.Push(head, written)) {
    Break(use, "the used ring can't be written");
    return;
  }
  if (++use->unsignalled >= kSignalBatch) Signal(use);
}

int64_t RequestServer::Reply(uint64_t body_size) {
  if (current_ == nullptr) return -EINVAL;
  const uint64_t size = kOutHeader + body_size;
  if (size > kReplyBytes || size > chain_.writable_size) {
    ReplyError(EIO);
    return -ERANGE;
  }
  OutHeader header = {static_cast<uint32_t>(size), 0, 0};
  memcpy(&header.unique, request_ + 8, 8);
  memcpy(reply_, &header, kOutHeader);
  if (!CopyPieces(Direction::kToGuest, chain_.writable, chain_.writable_count, 0, reply_, size)) {
    ReplyError(EFAULT);
    return -EFAULT;
  }
  Complete(static_cast<uint32_t>(size));
  return 0;
}

int64_t RequestServer::ReplyError(int error) {
  if (current_ == nullptr) return -EINVAL;
  if (chain_.writable_size < kOutHeader) return NoReply();
  OutHeader header = {kOutHeader, -error, 0};
  memcpy(&header.unique, request_ + 8, 8);
  const bool written = CopyPieces(Direction::kToGuest, chain_.writable, chain_.writable_count, 0,
                                  reinterpret_cast<uint8_t*>(&header), kOutHeader);
  Complete(written ? kOutHeader : 0);
  return 0;
}

int64_t RequestServer::NoReply() {
  if (current_ == nullptr) return -EINVAL;
  Complete(0);
  return 0;
}

int64_t RequestServer::BeginSession() {
  if (current_ == nullptr) return -EINVAL;
  device_->BeginSession();
  session_ = EnterSession(device_->sessions());
  return 0;
}

int64_t RequestServer::GiveBack() {
  if (current_ == nullptr) return -EINVAL;
  Queue* queue = current_->queue;
  current_->given_back = true;
  current_ = nullptr;
  queue->ring.Unpop();
  queue->base = queue->ring.next_available();
  queue->requests.fetch_sub(1, std::memory_order_relaxed);
  return 0;
}

int64_t RequestServer::ReplyFromFile(int fd, int64_t offset, uint64_t size) {
  if (current_ == nullptr) return -EINVAL;
  if (chain_.writable_size < kOutHeader) {
    NoReply();
    return -EINVAL;
  }
  size = std::min<uint64_t>(size, chain_.writable_size - kOutHeader);
  uint64_t total = 0;
  int error = 0;
  iovec pieces[IOV_MAX];
  // A read that has to wait must not hold back the completions before it.
  int flags = Waits() ? RWF_NOWAIT : 0;
  // A guest takes a short reply for the end of the file, so a read that stopped for another reason
  // must say so: read on until nothing comes.
  while (total < size) {
    uint64_t taken = 0;
    const int count = Slice(chain_.writable, chain_.writable_count, kOutHeader + total,
                            size - total, pieces, &taken);
    const ssize_t got = preadv2(fd, pieces, count, offset + static_cast<int64_t>(total), flags);
    if (got < 0 && flags != 0 && (errno == EAGAIN || errno == EOPNOTSUPP)) {
      SignalAll();
      flags = 0;
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) error = errno;
    if (got <= 0) break;
    total += static_cast<uint64_t>(got);
  }
  if (error == 0) {
    // Last, so that a guest never sees a good header over missing data.
    OutHeader header = {static_cast<uint32_t>(kOutHeader + total), 0, 0};
    memcpy(&header.unique, request_ + 8, 8);
    if (CopyPieces(Direction::kToGuest, chain_.writable, chain_.writable_count, 0,
                   reinterpret_cast<uint8_t*>(&header), kOutHeader)) {
      Complete(static_cast<uint32_t>(kOutHeader + total));
      return static_cast<int64_t>(total);
    }
    error = EFAULT;
  }
  ReplyError(error);
  return -error;
}

int64_t RequestServer::WriteToFile(int fd, int64_t offset, uint64_t size, int flags) {
  if (current_ == nullptr) return -EINVAL;
  size = std::min<uint64_t>(size, payload_size_);
  uint64_t total = 0;
  iovec pieces[IOV_MAX];
  // As with reads; but what has to reach the disk waits for it in any case.
  int nowait = Waits() && (flags & (RWF_DSYNC | RWF_SYNC)) == 0 ? RWF_NOWAIT : 0;
  if (nowait == 0) SignalAll();
  while (total < size) {
    uint64_t taken = 0;
    const int count = Slice(chain_.readable, chain_.readable_count, request_size_ + total,
                            size - total, pieces, &taken);
    const ssize_t put =
        pwritev2(fd, pieces, count, offset + static_cast<int64_t>(total), flags | nowait);
    if (nowait != 0 &&
        (put < 0 ? errno == EAGAIN || errno == EOPNOTSUPP : static_cast<uint64_t>(put) < taken)) {
      SignalAll();
      nowait = 0;
      if (put > 0) total += static_cast<uint64_t>(put);
      continue;
    }
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return total > 0 ? static_cast<int64_t>(total) : -errno;
    total += static_cast<uint64_t>(put);
    // A short write is the guest's to go on with, except where we handed over less than all.
    if (static_cast<uint64_t>(put) < taken) break;
  }
  return static_cast<int64_t>(total);
}

}  // namespace viewfsd
