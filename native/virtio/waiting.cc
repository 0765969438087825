// SPDX-License-Identifier: Apache-2.0
// How RequestServer's thread waits for work: it spins for a short while, where that pays, and then
// sleeps.
#include <sys/epoll.h>

#include <cerrno>
#include <chrono>

#include "virtio/request_server.h"

namespace viewfsd {
namespace {

using std::chrono::steady_clock;

// How long to look for the next request before sleeping. Two misses in a row say that the other
// side is not about to send more (or shares this CPU); then the next thousand waits sleep at once.
constexpr std::chrono::microseconds kSpin{40};
constexpr uint32_t kSpinMisses = 2;
constexpr uint32_t kWaitsWithoutSpin = 1000;

void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

// Until a kick, main, the mailbox or the kernel wakes the thread. 0 where nothing did in time.
int RequestServer::Sleep(int timeout_ms) {
  if (!mailbox_.Arm()) return 1;
  int count = 1;
  if (reads_ == nullptr || reads_->Arm()) {
    epoll_event events[4];
    do count = epoll_wait(port_->epoll.get(), events, 4, timeout_ms);
    while (count < 0 && errno == EINTR);
    if (reads_ != nullptr) reads_->Disarm();
  }
  mailbox_.Disarm();
  return count;
}

// Whether requests are taken from a queue that this thread has. Not while a stop waits for those
// that the pool has.
bool RequestServer::Takes(const QueueUse& use) const {
  return under_way_ < kMaxUnderWay && !device_->paused() &&
         (use.queue->runnable.load(std::memory_order_relaxed) || !use.left.empty());
}

// Whether there is a request that can be served now. FinishStop wakes whoever waits for that.
bool RequestServer::HasWork(const QueueUse& use) const {
  return Takes(use) && (!use.left.empty() || use.queue->ring.HasWork()) &&
         !(use.given_back && device_->Interrupted());
}

bool RequestServer::SpinForWork() {
  if (!may_spin_) return false;
  if (spin_misses_ >= kSpinMisses) {
    if (++waits_without_spin_ < kWaitsWithoutSpin) return false;
    waits_without_spin_ = 0;
    spin_misses_ = 0;
  }
  const auto deadline = steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; i++) {
      if (!mailbox_.empty() || (reads_ != nullptr && !reads_->empty())) {
        spin_misses_ = 0;
        return true;
      }
      for (QueueUse& use : uses_) {
        if (!use.entered) continue;
        // One with requests that were set aside, or put off, may have to wait for them.
        const bool waits = use.deferred > 0 || use.under_way > 0;
        if (!waits && !use.queue->runnable.load(std::memory_order_relaxed)) return true;
        if (HasWork(use)) {
          spin_misses_ = 0;
          port_->spin_hits.fetch_add(1, std::memory_order_relaxed);
          return true;
        }
      }
      Relax();
    }
  } while (steady_clock::now() < deadline);
  spin_misses_++;
  return false;
}

// Lets go of everything before a sleep: a stop needs no hand-over then, and an old memory table can
// be unmapped. False where a request came in meanwhile.
bool RequestServer::PrepareWait() {
  for (QueueUse& use : uses_) {
    if (!use.entered || use.queue->broken.load()) continue;
    if (!EnableKicks(&use)) {
      Break(&use, "the used ring can't be written");
      continue;
    }
    if (HasWork(use)) {
      DisableKicks(&use);
      return false;
    }
  }
  // A queue with requests that were set aside stays: their replies need the ring as it is.
  for (QueueUse& use : uses_)
    if (use.deferred == 0 && use.under_way == 0) Leave(&use);
  return true;
}

}  // namespace viewfsd
