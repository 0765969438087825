// SPDX-License-Identifier: Apache-2.0
// One vhost-user device: everything that the thread of the socket (main) and the queue threads
// share. Process-global, found by number, because each thread has a JavaScript heap of its own.
//
// Who does what:
//   main          sets up memory, rings and the backend channel; starts and stops queues; never
//   touches a ring queue thread  pops, serves and pushes; alone touches SplitVirtqueue while its
//   queue runs
//
// A queue's hand-over is two flags, both sequentially consistent: the queue thread sets `in_use`,
// then looks at `runnable`; main clears `runnable`, then looks at `in_use`. So either the queue
// thread sees that it must not start, or main sees that it must wait for `quiesced`.
#ifndef VIEWFSD_DEVICE_H_
#define VIEWFSD_DEVICE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fuse/read_ring.h"
#include "fuse/request_pool.h"
#include "memory/dirty_log.h"
#include "memory/guest_memory.h"
#include "session/counters.h"
#include "session/guest_session.h"
#include "session/hot_inodes.h"
#include "session/latencies.h"
#include "util/unique_fd.h"
#include "virtio/backend_channel.h"
#include "virtio/queue_journal.h"
#include "virtio/split_virtqueue.h"
#include "window/shmem_ranges.h"

namespace viewfsd {

struct Queue {
  // Set by main while the queue is not in use.
  uint32_t size = 0;
  SplitVirtqueue::Addresses addresses;
  bool addresses_set = false;
  uint16_t base = 0;
  bool started = false;
  bool enabled = false;

  std::atomic<bool> runnable{false};
  std::atomic<bool> in_use{false};
  // Main waits for `in_use` to end.
  std::atomic<bool> stop_requested{false};
  // The ring lied; it stays stopped until it is set up anew.
  std::atomic<bool> broken{false};
  // Counts starts: tells the queue thread to configure `ring` anew.
  std::atomic<uint32_t> start_count{0};
  // Owned by the queue thread while in use, by main otherwise.
  SplitVirtqueue ring;
  QueueJournal journal;
  // It runs already, and a predecessor has left it: whoever takes it first goes on from its
  // journal.
  std::atomic<bool> left{false};

  // Guards the descriptors and broken_reason.
  std::mutex mutex;
  UniqueFd kick;
  UniqueFd call;
  UniqueFd err;
  std::string broken_reason;

  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> signals{0};
  std::atomic<uint64_t> refused{0};
};

// The request that a queue thread is at work on, for whoever watches it.
struct RequestInProgress {
  // Counts the thread's requests.
  std::atomic<uint64_t> number{0};
  // Nanoseconds of CLOCK_MONOTONIC; 0 while there is none.
  std::atomic<int64_t> since{0};
  std::atomic<uint64_t> nodeid{0};
  std::atomic<uint32_t> opcode{0};
};

// What one queue thread waits on.
struct WorkerPort {
  UniqueFd epoll;
  UniqueFd control;
  std::vector<uint32_t> queues;
  std::atomic<uint64_t> waits{0};
  std::atomic<uint64_t> spin_hits{0};
  // Requests that had to wait for the host: those given to the pool, and READs that the kernel has
  // carried out by itself.
  std::atomic<uint64_t> pooled{0};
  std::atomic<uint64_t> async_reads{0};
  FuseCounters fuse;
  Latencies latencies;
  HotInodes hot;
  RequestInProgress request;
  // Null where there is no io_uring, or nothing is put off.
  std::unique_ptr<ReadRing> reads;
};

// What main knows of a frontend that is not the device's.
struct FrontendState {
  // The connection; -1: there is none.
  int connection = -1;
  uint64_t protocol_features = 0;
  uint32_t last_queue = 0;
  bool window_possible = false;
  bool window_active = false;
  // Where in the file of replies the last one ends.
  uint64_t replies_end = 0;
};

// The log's file, where there may be a successor; none otherwise.
struct LogFile {
  UniqueFd fd;
  uint64_t size = 0;
  uint64_t offset = 0;
};

// A region of the memory table, and its file.
struct RegionFd {
  RegionDescription region;
  std::shared_ptr<UniqueFd> fd;
};

class Device {
 public:
  // Worker 0 serves queues 0 (hiprio) and 1, worker n queue n + 1.
  // `pool_threads`: see RequestPool.
  static std::shared_ptr<Device> Create(uint32_t queue_count, size_t pool_threads = 0);
  static std::shared_ptr<Device> Find(uint32_t id);
  // Forgets the number; the object lives on for whoever still uses it.
  static void Drop(uint32_t id);

  uint32_t id() const { return id_; }
  GuestMemory& memory() { return memory_; }
  DirtyLog& dirty_log() { return dirty_log_; }
  BackendChannel& backend() { return backend_; }
  RequestPool& pool() { return pool_; }
  std::vector<std::unique_ptr<Queue>>& queues() { return queues_; }
  std::vector<std::unique_ptr<WorkerPort>>& workers() { return workers_; }
  WorkerPort& WorkerOf(uint32_t queue) { return *workers_[queue <= 1 ? 0 : queue - 1]; }
  int quiesced_fd() const { return quiesced_.get(); }

  // --- main thread ---
  void SetFeatures(bool event_idx, bool indirect, bool rings_start_enabled);
  // Starts the ring. 0, or an errno where the descriptor can't be waited on.
  int SetKick(uint32_t index, UniqueFd kick);
  void SetEnabled(uint32_t index, bool enabled);
  // Asks the queue thread to let go. True where it has; otherwise quiesced_fd becomes readable when
  // it does.
  bool RequestStop(uint32_t index);
  // To be called when RequestStop has succeeded: the ring's position, and the kick is closed.
  uint16_t FinishStop(uint32_t index);
  // SET_LOG_BASE: see DirtyLog. `fd` stays the caller's; `kept` is a copy of it for a successor,
  // where there may be one.
  int SetLogBase(int fd, uint64_t size, uint64_t offset, UniqueFd kept);
  void SetLogSignal(UniqueFd signal) { Retire(dirty_log_.SetSignal(std::move(signal))); }
  // Tells what our own window is, so that no ring is accepted in any view.
  void AddView(int view_fd);
  // Whether one of these rings lies in a DAX window of the present memory table.
  bool RingInWindow(const SplitVirtqueue::Addresses& addresses);
  // Whether the frontend has shown our view as the window and shows it no more: it has reset the
  // device since.
  bool ViewLost(int view_fd, uint64_t size);
  // After a device reset: the frontend has dropped its mappings.
  void ForgetWindow();
  // All queues must be stopped. Forgets the frontend: memory, rings, channel and window.
  void Reset();
  // Puts down for a successor of this process what the frontend has set up (server_state.h), where
  // there is to be one. Descriptors that have been replaced are closed only then.
  void Record(const FrontendState& frontend);
  // Sets up what a predecessor has put down, with the same descriptors, which are this process's by
  // now. Rings that ran run again, from where they were left. Before any other call.
  // `crashed`: by the predecessor's own doing, perhaps by what it was serving.
  std::optional<FrontendState> Restore(bool crashed);
  // All requests that are taken from now on get EIO.
  void Refuse() { refuses_.store(true); }
  // No more requests are taken; those that have been are carried out.
  void Pause() { paused_.store(true); }
  // Descriptors that have come with messages. Where there may be a successor they stay open until
  // it is told of others.
  void Retire(UniqueFd fd);
  // Of the present memory table; these are the device's.
  void SetRegionFds(std::vector<RegionFd> fds);
  std::vector<RegionFd>& region_fds() { return region_fds_; }
  // Ends all queue threads' waits for good.
  void Shutdown();

  // --- queue threads ---
  bool shutting_down() const { return shutdown_.load(std::memory_order_acquire); }
  // Whether a blocking call should give up: a stop is pending, or shutdown.
  bool Interrupted() const { return shutting_down() || pending_stops_.load() > 0; }
  bool paused() const { return paused_.load(std::memory_order_relaxed); }
  bool refuses() const { return refuses_.load(std::memory_order_relaxed); }
  // For main's log: a request that has got EIO, because server after server has ended with it.
  void NoteDeadly(std::vector<uint8_t> request);
  std::vector<std::vector<uint8_t>> TakeDeadly();
  bool crashed() const { return crashed_; }
  bool event_idx() const { return event_idx_; }
  bool indirect() const { return indirect_; }
  const GuestSessions& sessions() const { return sessions_; }
  // Requests that were taken before belong to a session that is over.
  void BeginSession() { sessions_.BeginNext(); }
  // Marks the queue's end of use, and tells main where it waits for that.
  void Leave(Queue* queue);
  void Break(Queue* queue, const char* reason);
  // Whether a region shows (part of) a DAX window.
  bool IsWindow(const Region& region) { return IsWindowFile(region.device(), region.inode()); }
  bool IsWindowFile(dev_t device, ino_t inode);

  // Makes the view visible as the whole window, unless the memory table already holds it; waits
  // until it does. 0 or -errno: -ENOTCONN no channel, -EIO refused, -ETIMEDOUT, -EINTR.
  int StartViewWindow(int view_fd, uint64_t size, std::chrono::milliseconds patience);
  // One range of a window that the frontend maps. 0 or -errno; -EBUSY where it would have to be
  // replaced, -ENOTCONN (as in ShmemUnmap) for a request of an older session.
  int ShmemMap(const ShmemRange& range, int fd);
  // -EINVAL where a mapping lies partly in the range.
  int ShmemUnmap(uint64_t moffset, uint64_t length);
  // Unmaps everything that the frontend still has.
  void ShmemReset();
  uint64_t ShmemLive();

 private:
  explicit Device(size_t pool_threads);
  void UpdateRunnable(Queue* queue);
  void Poke(uint32_t queue);
  int ShmemSync();
  void DropUnlisted();
  int ShmemAwait(const ShmemRange& range, const MemoryTable* before);

  uint32_t id_ = 0;
  GuestMemory memory_;
  DirtyLog dirty_log_;
  LogFile log_file_;
  BackendChannel backend_;
  RequestPool pool_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::unique_ptr<WorkerPort>> workers_;
  UniqueFd quiesced_;
  std::atomic<bool> shutdown_{false};
  std::atomic<bool> refuses_{false};
  std::atomic<bool> paused_{false};
  bool crashed_ = false;
  std::atomic<int> pending_stops_{0};
  bool event_idx_ = false;
  bool indirect_ = false;
  bool rings_start_enabled_ = false;

  GuestSessions sessions_;

  std::mutex deadly_mutex_;
  std::vector<std::vector<uint8_t>> deadly_;

  // Main's, and empty where there is to be no successor.
  std::vector<RegionFd> region_fds_;
  std::vector<UniqueFd> retired_;

  // One window operation at a time; taken before BackendChannel's locks and GuestMemory's.
  std::mutex window_mutex_;
  // The guarded state below is also read by IsWindow, hence a lock that no one holds while waiting.
  std::mutex ranges_mutex_;
  ShmemRanges shmem_ranges_;
  std::set<std::pair<dev_t, ino_t>> views_;
  bool view_shown_ = false;
  // Parts of the view that the frontend has mapped for an attempt whose table has not come yet.
  std::atomic<bool> view_body_mapped_{false};
  std::atomic<bool> view_tail_mapped_{false};
  // Counts the times that the frontend has dropped all mappings: replies of before mean nothing.
  std::atomic<uint32_t> window_epoch_{0};
  // The device has been started anew: what the memory table does not hold is gone.
  std::atomic<bool> restarted_{false};
  // Where the window starts in guest-physical space, once a mapping has shown it.
  std::optional<uint64_t> window_base_;
  // 0 unknown, 1 the frontend's memory table lists each mapping, -1 it does not.
  int table_lists_mappings_ = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_DEVICE_H_
