// SPDX-License-Identifier: Apache-2.0
// Threads for requests that may have to wait for the host: a disk, a server, a FUSE process. The
// queue's thread hands such a request over with all that it needs, and serves the next one; the
// answer comes back to it by a mailbox.
//
//   queue's thread ── Submit ──► ready ──► thread: DataPlane::ServePutOff ──► Mailbox ──► queue's
//   thread: ring
//                                  ▲
//              chains: what waits for a change of its inode that came before it
//
// Only the queue's thread touches the ring. A thread of the pool writes to the guest's buffers
// alone, through the memory table that the request holds.
#ifndef VIEWFSD_FUSE_REQUEST_POOL_H_
#define VIEWFSD_FUSE_REQUEST_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fuse/request.h"
#include "host/repeated.h"
#include "memory/guest_memory.h"
#include "session/guest_session.h"
#include "session/service_policy.h"

namespace viewfsd {

class Mailbox;
class SharedDirectory;

// Owned by the queue's thread, by the pool, and by the queue's thread again.
struct PutOffRequest {
  // The message as far as it was copied, and where its buffers are in `table`.
  std::vector<uint8_t> bytes;
  std::vector<iovec> readable;
  std::vector<iovec> writable;
  Snapshot table;
  // Points into the above.
  FuseRequest request;
  SharedDirectory* directory = nullptr;
  // In force when it was taken.
  std::shared_ptr<const ServicePolicy> policy;
  const GuestSessions* sessions = nullptr;
  uint32_t session = 0;
  Order order;
  // The number of the queue's thread, for whoever watches.
  uint32_t worker = 0;
  Mailbox* mailbox = nullptr;
  // The queue's thread's own.
  void* use = nullptr;
  uint16_t head = 0;
  // See session/present_request.h.
  uint64_t number = 0;
  // See host/repeated.h.
  int64_t begun = kNotRepeated;
  // When it was taken: see latencies.h.
  int64_t began = 0;
  // Filled in by the pool: kSilent, kInPlace or kWait.
  Answer answer = {Answer::Kind::kInPlace, 0};
};

using PutOffRef = std::unique_ptr<PutOffRequest>;

// Requests that have been served, for the thread that owns the object.
class Mailbox {
 public:
  // `wakeup`: an eventfd that the owner sleeps on; stays the caller's.
  explicit Mailbox(int wakeup) : wakeup_(wakeup) {}

  // Any thread.
  void Put(PutOffRef request);
  bool empty() const { return !filled_.load(std::memory_order_acquire); }

  // The owner. Until Disarm, Put wakes it; false where there is something already.
  bool Arm();
  void Disarm() { armed_.store(false, std::memory_order_relaxed); }
  std::vector<PutOffRef> Take();

 private:
  const int wakeup_;
  std::mutex mutex_;
  std::vector<PutOffRef> requests_;
  std::atomic<bool> filled_{false};
  std::atomic<bool> armed_{false};
};

// One that a thread of the pool, or the kernel (read_ring.h), is at work on.
struct PooledInProgress {
  // By which it is told from all others.
  uint64_t number;
  uint32_t worker;
  uint32_t opcode;
  uint64_t nodeid;
  // When that began: see coarse_clock.h.
  int64_t since;

  static PooledInProgress Of(const PutOffRequest& request);
};

class RequestPool {
 public:
  static constexpr size_t kMaxThreads = 1024;

  // At most `threads`, which start when they are needed and stay; 0 for none: nothing is put off.
  explicit RequestPool(size_t threads);
  // Threads end when they are idle; nobody waits for them.
  ~RequestPool();
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  bool enabled() const;
  // The request comes back by its mailbox. To be called by a thread whose credentials and signal
  // mask are the process's own.
  void Submit(PutOffRef request);
  // Whether a change is under way that a request of that order must not be served before.
  bool Busy(const Order& order);
  // Answers a request with EINTR that no thread has begun; false where there is none such.
  bool Interrupt(const GuestSessions& sessions, uint32_t session, uint64_t unique);
  std::vector<PooledInProgress> InProgress();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_REQUEST_POOL_H_
