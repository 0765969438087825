// SPDX-License-Identifier: Apache-2.0
// The guest's sessions, counted: FUSE_INIT and DESTROY each begin a new one. A request that another
// queue's thread took before that may still be at work then. It may finish, but what it would add
// (inodes, handles, locks, mappings) is nobody's any more: the tables refuse it with -ENOTCONN,
// under the same lock under which the new session empties them.
#ifndef VIEWFSD_GUEST_SESSION_H_
#define VIEWFSD_GUEST_SESSION_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

namespace viewfsd {

// Of one device.
class GuestSessions {
 public:
  uint32_t present() const { return number_.load(std::memory_order_acquire); }
  // Waits for those that hold `mutex`.
  void BeginNext() {
    const std::unique_lock lock(mutex_);
    number_.fetch_add(1, std::memory_order_acq_rel);
  }
  // Held, shared, by whoever must finish before the next session begins.
  std::shared_mutex& mutex() const { return mutex_; }

 private:
  mutable std::shared_mutex mutex_;
  std::atomic<uint32_t> number_{0};
};

// The calling thread's request has been taken in the present session. `sessions` must outlive the
// thread's requests, or LeaveSession. Returns the session's number.
uint32_t EnterSession(const GuestSessions& sessions);
// The same for a request that was taken in the session of that number, perhaps by another thread.
void EnterSession(const GuestSessions& sessions, uint32_t number);
void LeaveSession(const GuestSessions& sessions);
// False where another session has begun since. Without a device every request is of the present
// one.
bool InPresentSession();

// While one lives, the session of the calling thread's request does not end.
class SessionHold {
 public:
  SessionHold();
  // False where it has ended already.
  explicit operator bool() const { return present_; }

 private:
  std::shared_lock<std::shared_mutex> lock_;
  bool present_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_GUEST_SESSION_H_
