// SPDX-License-Identifier: Apache-2.0
// A guest's FUSE session: its memory, its queues, and the places in memory that requests are built
// in.
#ifndef VIEWFSD_BENCH_SESSION_H_
#define VIEWFSD_BENCH_SESSION_H_

#include <linux/fuse.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ring.h"

namespace viewfsd::bench {

constexpr size_t kPage = 4096;
constexpr uint32_t kMaxData = 1 << 20;

// One request at a time on its way, with buffers of its own as a guest has them: header, arguments,
// data in pages.
class Slot {
 public:
  Slot(GuestRam* ram, Ring* ring, uint16_t index, uint16_t head);

  // Begins a request; `Argument` and `Text` add to it.
  void Begin(uint32_t opcode, uint64_t nodeid);
  void SetCaller(uint32_t uid, uint32_t gid);
  template <typename Struct>
  void Argument(const Struct& in) {
    memcpy(arguments_ + argument_size_, &in, sizeof(in));
    argument_size_ += sizeof(in);
  }
  // With its NUL.
  void Text(std::string_view text);
  // What the request carries or has room for, of `data`.
  void SendData(uint32_t size) { data_in_ = size; }
  void TakeData(uint32_t size) { data_out_ = size; }
  // Of the reply's body, besides the data.
  void TakeBody(uint32_t size) { body_size_ = size; }
  // FORGET and its like.
  void WantNothing() { silent_ = true; }
  void Submit();

  // Of the reply: ends the program where it is an error or is not this request's.
  template <typename Struct>
  const Struct& Body() const {
    return *reinterpret_cast<const Struct*>(reply_ + sizeof(fuse_out_header));
  }
  // Bytes behind the header.
  uint32_t Check(uint32_t written) const;

  uint8_t* data() const { return data_; }
  uint16_t index() const { return index_; }
  Ring* ring() const { return ring_; }

  // For the operation that uses it; 0 in the beginning.
  uint32_t step = 0;
  uint64_t nodeid = 0;
  uint64_t fh = 0;
  uint64_t offset = 0;
  uint64_t count = 0;

 private:
  fuse_in_header* header() const { return reinterpret_cast<fuse_in_header*>(request_); }

  Ring* const ring_;
  const uint16_t index_;
  const uint16_t head_;
  uint8_t* const request_;
  uint8_t* const arguments_;
  uint8_t* const reply_;
  uint8_t* const data_;
  uint32_t argument_size_ = 0;
  uint32_t data_in_ = 0;
  uint32_t data_out_ = 0;
  uint32_t body_size_ = 0;
  bool silent_ = false;
  uint64_t unique_ = 0;
};

class Session {
 public:
  // `queues` request queues, and a hiprio queue before them.
  Session(uint32_t queues, uint32_t slots);

  // FUSE_INIT, when the device has been started.
  void Init();
  // One request, from a slot that is not in use, to its end. The size of its body.
  uint32_t Call(Slot* slot);
  // `count` requests, many at a time: `build` gets a slot and the request's number, `take` the same
  // with the reply.
  template <typename Build, typename Take>
  void CallAll(size_t count, Build build, Take take);
  // The nodeid of a name.
  uint64_t Lookup(uint64_t parent, std::string_view name);
  void Forget(uint64_t nodeid, uint64_t count);
  // The same for many names, or nodeids.
  std::vector<uint64_t> LookupAll(uint64_t parent, const std::vector<std::string>& names);
  void ForgetAll(const std::vector<uint64_t>& nodeids, const std::vector<uint64_t>& counts);

  const GuestRam& ram() const { return ram_; }
  const std::vector<std::unique_ptr<Ring>>& rings() const { return rings_; }
  // Sets to 0 what operations have left in the slots.
  void ClearSlots();
  Slot& slot(size_t index) { return *slots_[index]; }
  // The slot whose request a queue has completed.
  Slot& Completed(size_t queue, uint16_t head);

 private:
  GuestRam ram_;
  std::vector<std::unique_ptr<Ring>> rings_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

template <typename Build, typename Take>
void Session::CallAll(size_t count, Build build, Take take) {
  std::vector<size_t> numbers(slots_.size());
  size_t begun = 0;
  size_t pending = 0;
  const auto next = [&](Slot& slot) {
    if (begun == count) return;
    numbers[slot.index()] = begun;
    build(slot, begun++);
    slot.Submit();
    pending++;
  };
  for (const auto& slot : slots_) next(*slot);
  for (size_t i = 1; i < rings_.size(); i++) rings_[i]->Kick();
  while (pending > 0)
    for (size_t i = 1; i < rings_.size(); i++) {
      uint16_t head;
      uint32_t written;
      while (rings_[i]->TakeUsed(&head, &written)) {
        Slot& slot = Completed(i, head);
        slot.Check(written);
        take(slot, numbers[slot.index()]);
        pending--;
        next(slot);
      }
      rings_[i]->Kick();
      // Another queue's replies wait for a moment.
      rings_[i]->Wait(1);
    }
}

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_SESSION_H_
