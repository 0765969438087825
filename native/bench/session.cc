// SPDX-License-Identifier: Apache-2.0
#include "bench/session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "bench/fail.h"

namespace viewfsd::bench {

Slot::Slot(GuestRam* ram, Ring* ring, uint16_t index, uint16_t head)
    : ring_(ring),
      index_(index),
      head_(head),
      request_(ram->Allocate(sizeof(fuse_in_header), 64)),
      arguments_(ram->Allocate(kPage, 64)),
      reply_(ram->Allocate(kPage, 64)),
      data_(ram->Allocate(kMaxData, kPage)) {}

void Slot::Begin(uint32_t opcode, uint64_t node) {
  argument_size_ = data_in_ = data_out_ = body_size_ = 0;
  silent_ = false;
  *header() = {};
  header()->opcode = opcode;
  header()->nodeid = node;
}

void Slot::SetCaller(uint32_t uid, uint32_t gid) {
  header()->uid = uid;
  header()->gid = gid;
}

void Slot::Text(std::string_view text) {
  memcpy(arguments_ + argument_size_, text.data(), text.size());
  argument_size_ += static_cast<uint32_t>(text.size());
  arguments_[argument_size_++] = '\0';
}

void Slot::Submit() {
  header()->len = static_cast<uint32_t>(sizeof(fuse_in_header)) + argument_size_ + data_in_;
  // As Linux numbers them: even, and never the same twice.
  header()->unique = unique_ += 2;
  std::array<Segment, Ring::kMaxSegments> segments;
  size_t count = 0;
  segments[count++] = {request_, sizeof(fuse_in_header), false};
  if (argument_size_ > 0) segments[count++] = {arguments_, argument_size_, false};
  const auto pages = [&](uint32_t size, bool writable) {
    for (uint32_t at = 0; at < size; at += kPage)
      segments[count++] = {data_ + at, std::min<uint32_t>(size - at, kPage), writable};
  };
  pages(data_in_, false);
  if (!silent_) {
    segments[count++] = {reply_, sizeof(fuse_out_header), true};
    if (body_size_ > 0) segments[count++] = {reply_ + sizeof(fuse_out_header), body_size_, true};
    pages(data_out_, true);
  }
  ring_->Add(head_, {segments.data(), count});
}

uint32_t Slot::Check(uint32_t written) const {
  if (silent_) return 0;
  fuse_out_header out;
  memcpy(&out, reply_, sizeof(out));
  const std::string what = "FUSE request " + std::to_string(header()->opcode);
  if (out.unique != unique_) Fail(what + ": another's reply", EBADMSG);
  if (out.error != 0) Fail(what, -out.error);
  if (out.len != written || out.len > sizeof(out) + body_size_ + data_out_)
    Fail(what + ": a reply of the wrong length", EBADMSG);
  return out.len - static_cast<uint32_t>(sizeof(out));
}

Session::Session(uint32_t queues, uint32_t slots)
    : ram_((size_t{8} << 20) + (queues + 1) * (size_t{1} << 20) +
           slots * (size_t{kMaxData} + 4 * kPage)) {
  for (uint32_t i = 0; i <= queues; i++) rings_.push_back(std::make_unique<Ring>(&ram_));
  for (uint32_t i = 0; i < slots; i++)
    slots_.push_back(std::make_unique<Slot>(&ram_, rings_[1 + i % queues].get(),
                                            static_cast<uint16_t>(i),
                                            static_cast<uint16_t>(i / queues)));
}

void Session::ClearSlots() {
  for (const auto& slot : slots_) {
    slot->step = 0;
    slot->nodeid = slot->fh = slot->offset = slot->count = 0;
  }
}

Slot& Session::Completed(size_t queue, uint16_t head) {
  return *slots_.at(head * (rings_.size() - 1) + queue - 1);
}

uint32_t Session::Call(Slot* slot) {
  slot->Submit();
  slot->ring()->Kick();
  uint16_t head;
  uint32_t written;
  while (!slot->ring()->TakeUsed(&head, &written)) slot->ring()->Wait(-1);
  return slot->Check(written);
}

void Session::Init() {
  Slot& slot = *slots_[0];
  slot.Begin(FUSE_INIT, 0);
  fuse_init_in in = {};
  in.major = 7;
  in.minor = 38;
  in.max_readahead = 128 << 10;
  in.flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES |
             FUSE_DONT_MASK | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
             FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_ABORT_ERROR | FUSE_MAX_PAGES |
             FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA | FUSE_INIT_EXT;
  slot.Argument(in);
  slot.TakeBody(sizeof(fuse_init_out));
  Call(&slot);
  if (slot.Body<fuse_init_out>().max_write < kMaxData) Fail("max_write", ENOTSUP);
}

uint64_t Session::Lookup(uint64_t parent, std::string_view name) {
  return LookupAll(parent, {std::string(name)})[0];
}

void Session::Forget(uint64_t nodeid, uint64_t count) { ForgetAll({nodeid}, {count}); }

std::vector<uint64_t> Session::LookupAll(uint64_t parent, const std::vector<std::string>& names) {
  std::vector<uint64_t> nodeids(names.size());
  CallAll(
      names.size(),
      [&](Slot& slot, size_t i) {
        slot.Begin(FUSE_LOOKUP, parent);
        slot.Text(names[i]);
        slot.TakeBody(sizeof(fuse_entry_out));
      },
      [&](Slot& slot, size_t i) { nodeids[i] = slot.Body<fuse_entry_out>().nodeid; });
  return nodeids;
}

void Session::ForgetAll(const std::vector<uint64_t>& nodeids, const std::vector<uint64_t>& counts) {
  CallAll(
      nodeids.size(),
      [&](Slot& slot, size_t i) {
        slot.Begin(FUSE_FORGET, nodeids[i]);
        slot.Argument(fuse_forget_in{counts[i]});
        slot.WantNothing();
      },
      [](Slot&, size_t) {});
}

}  // namespace viewfsd::bench
