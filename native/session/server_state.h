// SPDX-License-Identifier: Apache-2.0
// What a server tells its successor besides the tables (host/directory_record.h), in a shared
// memory object of its own. A server may end within any instruction, so each part is written whole
// in one of two sets, and counts by one store of that set's number. Descriptors are numbers; a
// successor gets them by these from the keeper (sandbox/keeper.h). Nothing in here is to be
// believed: a guest may have taken the server over that has written it.
#ifndef VIEWFSD_SERVER_STATE_H_
#define VIEWFSD_SERVER_STATE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "session/service_policy.h"

namespace viewfsd {

// Two sets of a record, of which the number says which one counts: 0 none, odd the second.
template <typename Record>
class TwoSets {
 public:
  // Null where nothing has been published.
  const Record* Get() const {
    const uint32_t number = number_.load(std::memory_order_acquire);
    return number == 0 ? nullptr : &sets_[number & 1];
  }
  // To be filled; does not count yet.
  Record& Next() { return sets_[(number_.load(std::memory_order_relaxed) + 1) & 1]; }
  void Publish() {
    uint32_t number = number_.load(std::memory_order_relaxed) + 1;
    // 0 means none; its set is the first one.
    if (number == 0) number = 2;
    number_.store(number, std::memory_order_release);
  }

 private:
  std::atomic<uint32_t> number_;
  Record sets_[2];
};

struct RegionRecord {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t mmap_offset;
  int32_t fd;
};

struct QueueRecord {
  uint32_t size;
  uint64_t descriptors;
  uint64_t available;
  uint64_t used;
  uint16_t base;
  bool addresses_set;
  bool started;
  bool enabled;
  bool broken;
  int32_t kick;
  int32_t call;
  int32_t err;
};

// What the frontend has set up; see virtio/device.h.
struct DeviceRecord {
  static constexpr uint32_t kMaxRegions = 512;
  static constexpr uint32_t kMaxQueues = 256;

  // The frontend's connection; -1: there is none, and nothing else counts.
  int32_t frontend;
  int32_t backend;
  uint64_t protocol_features;
  uint32_t last_queue;
  bool window_possible;
  bool window_active;
  bool view_shown;
  bool event_idx;
  bool indirect;
  bool rings_start_enabled;
  // VHOST_F_LOG_ALL, the log's file, -1 for none, and the eventfd that goes with it.
  bool logs;
  int32_t log;
  uint64_t log_size;
  uint64_t log_offset;
  int32_t log_signal;
  // Where in the file of replies the last one ends.
  uint64_t replies_end;
  uint32_t region_count;
  RegionRecord regions[kMaxRegions];
  QueueRecord queues[kMaxQueues];
};

// What INIT has agreed to.
struct SessionRecord {
  static constexpr size_t kWords = 5;

  bool begun;
  // server/fuse/session.ts.
  int32_t words[kWords];
  ServicePolicy policy;
};

// Not noted.
constexpr int64_t kNoEnd = -1;

// Requests that have been taken from a ring: see virtio/queue_journal.h.
struct JournalEntry {
  enum State : uint8_t { kFree = 0, kTaken = 1, kAnswered = 2 };

  // Orders those that are under way.
  std::atomic<uint32_t> turn;
  // Of the reply, once there is one.
  std::atomic<uint32_t> length;
  // Nanoseconds of CLOCK_REALTIME (coarse) before which it has not been begun; 0: not noted.
  std::atomic<int64_t> begun;
  // Where the file ended that this is to append to, before it was begun; or kNoEnd.
  std::atomic<int64_t> end_before;
  std::atomic<uint8_t> state;
  // Servers that have ended while it was under way.
  std::atomic<uint8_t> deaths;
  // The first of these, in seconds of CLOCK_MONOTONIC.
  std::atomic<uint32_t> first_death;
};

struct JournalRecord {
  static constexpr uint32_t kEntries = 32768;

  // Whether the ring has been started and not been stopped since.
  std::atomic<uint32_t> runs;
  // The used index behind which nothing is left to be done.
  std::atomic<uint32_t> used;
  // The last one that has been pushed.
  std::atomic<uint32_t> last_head;
  std::atomic<uint32_t> next_turn;
  // By head.
  JournalEntry entries[kEntries];
};

struct StateRecord {
  // To be raised with every change of what is above or below.
  static constexpr uint32_t kVersion = 4;

  std::atomic<uint32_t> version;
  uint32_t queue_count;
  // Descriptors, 0 for none: the tables' object, and the file of replies.
  std::atomic<int32_t> tables;
  std::atomic<int32_t> replies;
  TwoSets<DeviceRecord> device;
  TwoSets<SessionRecord> session;
};
static_assert(std::is_trivially_copyable_v<DeviceRecord>);
static_assert(std::is_trivially_copyable_v<SessionRecord>);
static_assert(std::atomic<uint32_t>::is_always_lock_free &&
              std::atomic<int64_t>::is_always_lock_free);

// Of the process; there is none unless a first process has given it one.
class ServerState {
 public:
  // Of the state and of the tables that go with it.
  static const uint32_t kVersion;

  // Maps the object, which becomes as large as it has to be. Returns 0; -EPROTO where another
  // version or other queues have written it; or -errno. Once.
  static int Open(int fd, uint32_t queue_count);
  // Whether this program could. 0, -EPROTO or -errno.
  static int Check(int fd);
  // Null where there is none.
  static StateRecord* Get();
  static JournalRecord* Journal(uint32_t queue);
};

}  // namespace viewfsd

#endif  // VIEWFSD_SERVER_STATE_H_
