// SPDX-License-Identifier: Apache-2.0
// Replies that are in the ring and that the guest has not been told of yet: interrupts go out once
// for several requests. Whatever may hold the thread up announces them first, so that no finished
// reply waits behind a slow request. A request whose opcode says that it may take long is handed
// out only after that (RequestServer::ReadRequest); the frequent ones do so themselves, where they
// find that they can't be served from memory.
#ifndef VIEWFSD_FINISHED_WORK_H_
#define VIEWFSD_FINISHED_WORK_H_

namespace viewfsd {

class FinishedWork {
 public:
  // Whether there are such replies.
  virtual bool Waits() const = 0;
  virtual void Announce() = 0;

  // The calling thread's; null where it serves no queue.
  static inline thread_local FinishedWork* of_thread = nullptr;

 protected:
  ~FinishedWork() = default;
};

inline bool WorkWaits() {
  return FinishedWork::of_thread != nullptr && FinishedWork::of_thread->Waits();
}

// To be called before anything that may block.
inline void AnnounceWork() {
  if (WorkWaits()) FinishedWork::of_thread->Announce();
}

}  // namespace viewfsd

#endif  // VIEWFSD_FINISHED_WORK_H_
