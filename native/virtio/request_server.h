// SPDX-License-Identifier: Apache-2.0
// One queue thread's work, without JavaScript: waits for requests of its queues, hands out one at a
// time, moves its data and completes it.
#ifndef VIEWFSD_REQUEST_SERVER_H_
#define VIEWFSD_REQUEST_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fuse/data_plane.h"
#include "fuse/request_pool.h"
#include "session/finished_work.h"
#include "virtio/device.h"

namespace viewfsd {

class RequestServer final : public FinishedWork {
 public:
  // Requests are copied whole up to this size; larger ones than any that Linux sends (a 64 KiB
  // xattr with its name, 4 KiB pages of names) are refused.
  static constexpr size_t kRequestBytes = 132 * 1024;
  // READDIR of Linux asks for up to the size of a READ.
  static constexpr size_t kReplyBytes = 1024 * 1024 + 64;

  static constexpr int kStopped = -1;
  static constexpr int kTimedOut = -2;
  static constexpr int kShortage = -3;
  static constexpr int kOwnerRefused = -4;

  // `request` and `reply` have the sizes above and belong to the caller. Where there is a
  // `directory`, which outlives the object, requests that its policy gives to the data plane are
  // served here.
  RequestServer(std::shared_ptr<Device> device, uint32_t worker, SharedDirectory* directory,
                uint8_t* request, uint8_t* reply);
  // Lets go of all queues.
  ~RequestServer();
  RequestServer(const RequestServer&) = delete;
  RequestServer& operator=(const RequestServer&) = delete;

  // Blocks until there is a request for the control plane, and returns its queue; kStopped after
  // Device::Shutdown, kTimedOut after `timeout_ms` (negative: never), and when many requests have
  // been refused without one to serve; kShortage when the data plane has answered one with ENFILE,
  // kOwnerRefused when TakeRefusedOwner has something to say.
  // A request that has not been completed by now is answered with EIO.
  int Next(int timeout_ms);

  // Of the current request.
  uint32_t request_size() const { return request_size_; }
  uint32_t payload_size() const { return payload_size_; }
  uint32_t reply_capacity() const { return static_cast<uint32_t>(chain_.writable_size); }

  // See server/fuse/channel.ts. Without a current request they do nothing and return -EINVAL.
  int64_t Reply(uint64_t body_size);
  int64_t ReplyError(int error);
  int64_t NoReply();
  int64_t GiveBack();
  // The current request (FUSE_INIT or DESTROY) begins a session: see guest_session.h.
  int64_t BeginSession();
  // The number of the session in which the last request was taken.
  uint32_t session() const { return session_; }
  // A server that has ended had taken the last request, too, and may have done it.
  bool repeated() const { return repeated_; }
  // Sets the current request aside, so that others are served meanwhile; its queue stays with this
  // thread. The stop of the queue answers it with EAGAIN, unless it is a SETUPMAPPING: then the
  // stop waits. Returns a number for it, -ENOLCK where too many are or it is too large to be kept,
  // -EINVAL.
  int64_t Defer();
  // Lets the data plane serve the current request, which it has not been able to serve before.
  enum class Served { kNot = 0, kYes = 1, kShortage = 2, kWaits = 3, kOwnerRefused = 4 };
  Served ServeAgain() { return current_ == nullptr ? Served::kNot : ServeNatively(true); }
  // Makes it the current request again, with room for up to kDeferredReply bytes of reply. Returns
  // 0; -ENOENT once the stop of its queue has answered it (EAGAIN) or its ring is broken; -EINVAL
  // where there is a current request.
  int64_t Resume(uint32_t deferred);

  // FinishedWork
  bool Waits() const override;
  void Announce() override { Flush(); }

 private:
  // What this thread knows of a queue.
  struct QueueUse {
    Queue* queue;
    uint32_t index;
    bool entered = false;
    uint32_t start_count = 0;
    // The table that the ring and the current request's buffers point into; held while entered.
    Snapshot table = nullptr;
    // Of the table in which the ring was looked up last; 0 for none.
    uint64_t generation = 0;
    uint32_t unsignalled = 0;
    // The next request was interrupted by a stop, and would be again.
    bool given_back = false;
    uint32_t deferred = 0;
    // Requests that the pool has; the queue stays with this thread until they are back.
    uint32_t under_way = 0;
    // Requests that a predecessor of this process had taken; they come before all others.
    std::deque<QueueJournal::Left> left = {};
  };

  // Since when a request is timed.
  struct Timing {
    // Of Latencies::Now(); 0 where it is not timed.
    int64_t began = 0;
    // See Latencies::Due.
    bool due = false;
  };

  struct Deferred {
    QueueUse* use;
    uint16_t head;
    std::vector<uint8_t> request;
    // Room for the reply, at addresses of that table.
    std::vector<iovec> reply;
    uint64_t reply_size;
    Snapshot table;
    Timing timing;
  };
  // More than a ring of Linux has descriptors for.
  static constexpr size_t kMaxDeferred = 1024;
  // A CREATE with its name and security context.
  static constexpr size_t kDeferredRequest = 8192;
  // What requests that wait are answered with is short: at most a struct fuse_entry_out with a
  // struct fuse_open_out.
  static constexpr size_t kDeferredReply = 256;
  // Requests that the pool may have of this thread; each takes up to 40 KiB. No other is taken from
  // the rings meanwhile.
  static constexpr uint32_t kMaxUnderWay = 1024;

  // queue_use.cc
  bool Enter(QueueUse* use);
  void Leave(QueueUse* use);
  void GrantStop(QueueUse* use);
  void LetGo(QueueUse* use);
  void Break(QueueUse* use, const char* reason);
  bool EnableKicks(QueueUse* use);
  bool DisableKicks(QueueUse* use);
  // For the frontend that migrates the guest: what has been written. The used ring, and the buffers
  // of a request of that table.
  void MarkRing(const QueueUse& use);
  void MarkBuffers(const GuestBuffers& buffers, const MemoryTable& table);
  bool Attach(QueueUse* use, const char** reason);
  bool StartRing(QueueUse* use, const char** reason);
  bool Repush(QueueUse* use);

  // kRefused: there was one, it is completed, and there may be more.
  enum class Taken { kNothing, kRefused, kRequest };
  Taken Take(QueueUse* use);
  bool ReadRequest();
  Served ServeNatively(bool again);
  // kYes, or what the control plane shall say of a request that has got this answer.
  static Served NoticeOf(int64_t answer);

  // put_off.cc
  void PutOff(const FuseRequest& request, uint64_t moved);
  void Pool(PutOffRef request);
  int Collect();
  int Complete(PutOffRequest& served);
  static uint32_t Answered(const PutOffRequest& served);
  bool InterruptPutOff(const FuseRequest& request);

  void NoteTime(uint64_t nodeid);
  bool PutHeader(int error, uint64_t body_size);
  void ShowProgress(uint32_t opcode);
  void TimeEachTime();
  void NoteLatency();
  void Complete(uint32_t written);
  void Finish(QueueUse* use, uint16_t head, uint32_t written, uint64_t unique);
  void MakeCurrent(QueueUse* use, uint16_t head, const std::vector<uint8_t>& request,
                   const GuestBuffers& reply, Snapshot table, Timing timing);
  void Signal(QueueUse* use);
  // Tells the guest and the kernel of all that is there for them.
  void Flush();

  // deferred.cc; those that the stop answers, or all.
  enum class Ended { kByStop, kAll };
  void EndDeferred(QueueUse* use, Ended which, bool answer);
  void AnswerDeferred(const Deferred& deferred, int error);

  // waiting.cc
  bool HasWork(const QueueUse& use) const;
  bool Takes(const QueueUse& use) const;
  // The number of what woke the thread; 0 for the time-out.
  int Sleep(int timeout_ms);
  bool SpinForWork();
  bool PrepareWait();

  std::shared_ptr<Device> device_;
  const uint32_t worker_;
  WorkerPort* port_;
  SharedDirectory* directory_;
  uint8_t* request_;
  uint8_t* reply_;
  std::vector<QueueUse> uses_;
  // Which of them is looked at first.
  size_t turn_ = 0;

  std::unordered_map<uint32_t, Deferred> deferred_;
  uint32_t next_deferred_ = 0;

  QueueUse* current_ = nullptr;
  DescriptorChain chain_;
  // Of a current request that had been set aside; null for any other, whose table is its queue's.
  Snapshot resumed_table_ = nullptr;
  uint32_t request_size_ = 0;
  uint32_t payload_size_ = 0;
  uint32_t session_ = 0;
  bool repeated_ = false;
  Timing timing_;
  std::optional<DataPlane> plane_;
  // The port's; null where there is none.
  ReadRing* const reads_;
  Mailbox mailbox_;
  std::deque<PutOffRef> collected_;
  uint32_t under_way_ = 0;

  bool may_spin_;
  uint32_t spin_misses_ = 0;
  uint32_t waits_without_spin_ = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_REQUEST_SERVER_H_
