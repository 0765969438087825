// SPDX-License-Identifier: Apache-2.0
// What requests under way have already got for the guest (counts of inodes, handles), or given up,
// so that a successor of this process can take back the one before it serves them once more, and
// need not do the other again. The last ones, in the tables' memory: what a request has got while
// so many others come stays until the session ends. What has been answered needs no note: the
// journal of its ring says so.
//
// Locks nothing: its owner's mutex guards it.
#ifndef VIEWFSD_GIVEN_LOG_H_
#define VIEWFSD_GIVEN_LOG_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "host/table_memory.h"
#include "session/present_request.h"
#include "util/store_order.h"

namespace viewfsd {

struct GivenRecord {
  // A count is about to be raised, has been, or is about to be taken back; kNone: it has been, or
  // never was. The guest is about to give up its count, or has.
  enum State : uint32_t { kNone, kRaising, kRaised, kLowering, kForgetting, kForgotten };

  // To whom; see session/present_request.h.
  uint64_t request;
  // The nodeid or fh.
  uint64_t what;
  // The count before it is changed, to which it goes back where that is not completed.
  uint64_t before;
  // Of the inode's record.
  uint32_t index;
  std::atomic<uint32_t> state;
};
static_assert(sizeof(GivenRecord) == 32);

class GivenLog {
 public:
  static size_t BytesFor(size_t records) {
    return TableMemory::BytesOf<uint64_t>(1) + TableMemory::BytesOf<GivenRecord>(records);
  }
  GivenLog(TableMemory& memory, size_t records)
      : size_(records),
        next_(memory.Reserve<uint64_t>(1)),
        records_(memory.Reserve<GivenRecord>(records)) {}

  // For the present request; null where no successor would serve it again.
  GivenRecord* Note(uint64_t what, uint64_t before, uint32_t index, GivenRecord::State state) {
    const uint64_t request = PresentRequest();
    if (request == kNoRequest) return nullptr;
    GivenRecord& record = records_[*next_ % size_];
    record.state.store(GivenRecord::kNone, std::memory_order_relaxed);
    KeepOrder();
    record.request = request;
    record.what = what;
    record.before = before;
    record.index = index;
    KeepOrder();
    record.state.store(state, std::memory_order_relaxed);
    KeepOrder();
    ++*next_;
    return &record;
  }
  static void Set(GivenRecord* record, GivenRecord::State state) {
    if (record == nullptr) return;
    KeepOrder();
    record->state.store(state, std::memory_order_relaxed);
    KeepOrder();
  }

  // What the present request has got last of this, if it has just got it; or null.
  GivenRecord* Find(uint64_t what) {
    const uint64_t request = PresentRequest();
    if (request == kNoRequest) return nullptr;
    const uint64_t most = std::min<uint64_t>({*next_, size_, kLookBack});
    for (uint64_t back = 1; back <= most; back++) {
      GivenRecord& record = records_[(*next_ - back) % size_];
      if (record.request == request && record.what == what && record.state != GivenRecord::kNone)
        return &record;
    }
    return nullptr;
  }

  // How much the present request has given up.
  size_t CountForgotten() const {
    const uint64_t request = PresentRequest();
    size_t count = 0;
    for (size_t i = 0; request != kNoRequest && i < std::min<uint64_t>(*next_, size_); i++)
      if (records_[i].request == request && records_[i].state == GivenRecord::kForgotten) count++;
    return count;
  }

  // Visits what requests have got that are under way.
  template <typename Visit>
  void ForEachUnderWay(Visit visit) {
    for (size_t i = 0; i < size_; i++) {
      GivenRecord& record = records_[i];
      // Nothing is behind the first one that has never been used.
      if (record.request == kNoRequest) return;
      if (record.state != GivenRecord::kNone && IsUnderWay(record.request)) visit(record);
    }
  }

 private:
  // More threads than there are get something at a time.
  static constexpr uint64_t kLookBack = 2048;

  const size_t size_;
  uint64_t* const next_;
  GivenRecord* const records_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_GIVEN_LOG_H_
