// SPDX-License-Identifier: Apache-2.0
// Which requests of a ring are under way, in memory that outlives the process, as vhost-user's
// inflight tracking has it: a successor takes them once more from their heads, which the guest
// keeps until it gets them back. Where it stands in the available ring follows: each request that
// has been taken is either in the used ring or here. One user at a time, who has the ring.
#ifndef VIEWFSD_QUEUE_JOURNAL_H_
#define VIEWFSD_QUEUE_JOURNAL_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "session/present_request.h"
#include "session/server_state.h"
#include "util/store_order.h"

namespace viewfsd {

class QueueJournal {
 public:
  struct Left {
    uint16_t head;
    // It has been answered, with so many bytes, but not been pushed.
    bool answered;
    uint32_t length;
    // It is to be answered with EIO: server after server has ended with it.
    bool deadly;
  };

  // Without a record, nothing is kept.
  explicit QueueJournal(JournalRecord* record = nullptr, uint32_t queue = 0)
      : record_(record), queue_(queue) {}

  // The ring starts, with this used index, and nothing is under way.
  void Start(uint16_t used);
  // Nothing is, and it has ended.
  void Stop() {
    if (record_ != nullptr) record_->runs.store(0, std::memory_order_relaxed);
  }
  // A predecessor has started the ring, whatever else it had time to put down.
  bool runs() const {
    return record_ != nullptr && record_->runs.load(std::memory_order_relaxed) != 0;
  }
  // What a predecessor has left of a ring of `size` whose used index is this, in order. `crashed`:
  // it may have ended by one of these.
  std::vector<Left> TakeOver(uint32_t size, uint16_t used, bool crashed);

  // A request has been taken.
  void Take(uint16_t head) {
    if (record_ == nullptr) return;
    const uint32_t turn = record_->next_turn.load(std::memory_order_relaxed);
    JournalEntry& entry = record_->entries[head];
    entry.turn.store(turn, std::memory_order_relaxed);
    entry.end_before.store(kNoEnd, std::memory_order_relaxed);
    KeepOrder();
    entry.state.store(JournalEntry::kTaken, std::memory_order_relaxed);
    record_->next_turn.store(turn + 1, std::memory_order_relaxed);
  }
  // It goes back into the ring.
  void GiveBack(uint16_t head) { Set(head, JournalEntry::kFree); }
  // The control plane is about to serve it, at this time (CLOCK_REALTIME, nanoseconds).
  void Begin(uint16_t head, int64_t now) {
    if (record_ == nullptr) return;
    std::atomic<int64_t>& begun = record_->entries[head].begun;
    if (begun.load(std::memory_order_relaxed) == 0) begun.store(now, std::memory_order_relaxed);
    KeepOrder();
  }
  int64_t begun(uint16_t head) const {
    return record_ == nullptr ? 0 : record_->entries[head].begun.load(std::memory_order_relaxed);
  }
  // To be noted by who appends. It is the request's until that has been answered.
  std::atomic<int64_t>* end_before(uint16_t head) const {
    return record_ == nullptr ? nullptr : &record_->entries[head].end_before;
  }
  // Under which the tables note what it gets: see session/present_request.h.
  uint64_t RequestOf(uint16_t head) const {
    if (record_ == nullptr) return kNoRequest;
    return RequestNumber(queue_, head, record_->entries[head].turn.load(std::memory_order_relaxed));
  }
  // What happened while it waits for somebody on the host is not its doing.
  void Wait(uint16_t head) {
    if (record_ != nullptr) record_->entries[head].deaths.store(0, std::memory_order_relaxed);
  }
  // Its reply stands in the guest's memory, or it needs none and must not be served twice: from now
  // on it is only pushed.
  void Answer(uint16_t head, uint32_t length) {
    if (record_ == nullptr) return;
    JournalEntry& entry = record_->entries[head];
    entry.length.store(length, std::memory_order_relaxed);
    KeepOrder();
    entry.state.store(JournalEntry::kAnswered, std::memory_order_relaxed);
    KeepOrder();
  }
  // The next used index is this one's.
  void Push(uint16_t head) {
    if (record_ == nullptr) return;
    record_->last_head.store(head, std::memory_order_relaxed);
    KeepOrder();
  }
  void Done(uint16_t head, uint16_t used) {
    if (record_ == nullptr) return;
    KeepOrder();
    JournalEntry& entry = record_->entries[head];
    entry.state.store(JournalEntry::kFree, std::memory_order_relaxed);
    entry.begun.store(0, std::memory_order_relaxed);
    entry.deaths.store(0, std::memory_order_relaxed);
    KeepOrder();
    record_->used.store(used, std::memory_order_relaxed);
  }

 private:
  void Set(uint16_t head, JournalEntry::State state) {
    if (record_ != nullptr) record_->entries[head].state.store(state, std::memory_order_relaxed);
  }

  JournalRecord* record_;
  uint32_t queue_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_QUEUE_JOURNAL_H_
