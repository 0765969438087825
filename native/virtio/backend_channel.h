// SPDX-License-Identifier: Apache-2.0
// The backend's own requests to the frontend (VHOST_USER_SET_BACKEND_REQ_FD): SHMEM_MAP and
// SHMEM_UNMAP, each with a reply that is waited for. Called from queue threads, never from the
// thread that answers the frontend's messages: the frontend serves this channel between those.
#ifndef VIEWFSD_BACKEND_CHANNEL_H_
#define VIEWFSD_BACKEND_CHANNEL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "util/unique_fd.h"

namespace viewfsd {

class BackendChannel {
 public:
  using Interrupted = std::function<bool()>;
  // What became of a request whose caller gave up waiting.
  using LateReply = std::function<void(bool done)>;

  BackendChannel();
  // Takes over the socket; an invalid one closes the channel. Outstanding replies are forgotten
  // with the old socket.
  void SetSocket(UniqueFd socket);
  bool open() const;
  // -1 where there is none.
  int descriptor() const;

  // The range [shm_offset, shm_offset + length) of shared memory region 0 shows `fd` from
  // `fd_offset` on. Returns 0 or -errno: -ENOTCONN without a channel, -EIO where the frontend
  // refuses. -EINTR (`interrupted()` ended the wait) and -ETIMEDOUT leave open whether the frontend
  // does it: `late` learns that during a later call.
  int ShmemMap(int fd, uint64_t fd_offset, uint64_t shm_offset, uint64_t length, bool writable,
               const Interrupted& interrupted, LateReply late);
  // `shm_offset` and `length` must name one earlier mapping.
  int ShmemUnmap(uint64_t shm_offset, uint64_t length, const Interrupted& interrupted,
                 LateReply late);
  // Waits for the replies to requests that were given up. 0, -EINTR, -ETIMEDOUT or -EIO.
  int DrainLateReplies(const Interrupted& interrupted);
  // Makes a waiting call look at `interrupted()` again.
  void Wake();

  // Requests sent since the process started.
  uint64_t maps() const { return maps_.load(std::memory_order_relaxed); }
  uint64_t unmaps() const { return unmaps_.load(std::memory_order_relaxed); }

 private:
  int Request(uint32_t request, int fd, const void* payload, size_t size,
              const Interrupted& interrupted, LateReply late);
  int DrainLocked(int socket, const Interrupted& interrupted);
  int ReceiveReply(int socket, std::chrono::milliseconds patience, const Interrupted& interrupted,
                   bool* done);
  std::shared_ptr<UniqueFd> Socket() const;
  void Close(const std::shared_ptr<UniqueFd>& socket);

  // One request is on its way at a time.
  std::mutex request_mutex_;
  // Guards socket_ and late_socket_; never held while waiting.
  mutable std::mutex socket_mutex_;
  std::shared_ptr<UniqueFd> socket_;
  UniqueFd wake_;
  // Requests whose replies nobody waits for any more, oldest first, and the socket they were sent
  // on. Guarded by request_mutex_.
  std::deque<LateReply> late_;
  std::weak_ptr<UniqueFd> late_socket_;
  std::atomic<uint64_t> maps_{0};
  std::atomic<uint64_t> unmaps_{0};
};

}  // namespace viewfsd

#endif  // VIEWFSD_BACKEND_CHANNEL_H_
