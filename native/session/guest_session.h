// SPDX-License-Identifier: Apache-2.0
// The guest's sessions, counted: FUSE_INIT and DESTROY each begin a new one. A request that another
// queue's thread took before that may still be at work then. It may finish, but what it would add
// (inodes, handles, locks, mappings) is nobody's any more: the tables refuse it with -ENOTCONN,
// under the same lock under which the new session empties them.
#ifndef VIEWFSD_GUEST_SESSION_H_
#define VIEWFSD_GUEST_SESSION_H_

#include <atomic>
#include <cstdint>

namespace viewfsd {

// Of one device.
class GuestSessions {
 public:
  uint32_t present() const { return number_.load(std::memory_order_acquire); }
  void BeginNext() { number_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  std::atomic<uint32_t> number_{0};
};

// The calling thread's request has been taken in the present session. `sessions` must outlive the
// thread's requests, or LeaveSession. Returns the session's number.
uint32_t EnterSession(const GuestSessions& sessions);
void LeaveSession(const GuestSessions& sessions);
// False where another session has begun since. Without a device every request is of the present
// one.
bool InPresentSession();

}  // namespace viewfsd

#endif  // VIEWFSD_GUEST_SESSION_H_
