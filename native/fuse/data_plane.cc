// SPDX-License-Identifier: Apache-2.0
#include "fuse/data_plane.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "host/open_files.h"
#include "session/finished_work.h"

namespace viewfsd {

const DataPlane::Operation* DataPlane::Find(uint32_t opcode) {
  // The shortest name, with its NUL.
  constexpr uint32_t kName = 2;
  static const std::array<Operation, ServicePolicy::kOpcodes> operations = [] {
    std::array<Operation, ServicePolicy::kOpcodes> table;
    table[FUSE_LOOKUP] = {&DataPlane::Lookup, kName, sizeof(fuse_entry_out)};
    table[FUSE_FORGET] = {&DataPlane::Forget, sizeof(fuse_forget_in), 0, true};
    table[FUSE_BATCH_FORGET] = {&DataPlane::BatchForget, sizeof(fuse_batch_forget_in), 0, true};
    table[FUSE_GETATTR] = {&DataPlane::Getattr, sizeof(fuse_getattr_in), sizeof(fuse_attr_out)};
    table[FUSE_OPEN] = {&DataPlane::Open, sizeof(fuse_open_in), sizeof(fuse_open_out)};
    table[FUSE_OPENDIR] = {&DataPlane::Opendir, sizeof(fuse_open_in), sizeof(fuse_open_out)};
    table[FUSE_READ] = {&DataPlane::Read, sizeof(fuse_read_in)};
    table[FUSE_WRITE] = {&DataPlane::Write, sizeof(fuse_write_in), sizeof(fuse_write_out)};
    table[FUSE_READDIR] = {&DataPlane::Readdir, sizeof(fuse_read_in)};
    table[FUSE_READDIRPLUS] = {&DataPlane::Readdirplus, sizeof(fuse_read_in)};
    table[FUSE_RELEASE] = {&DataPlane::Release, sizeof(fuse_release_in)};
    table[FUSE_RELEASEDIR] = {&DataPlane::Releasedir, sizeof(fuse_release_in)};
    return table;
  }();
  if (opcode >= operations.size() || operations[opcode].handler == nullptr) return nullptr;
  return &operations[opcode];
}

Answer DataPlane::Serve(const FuseRequest& request, uint8_t* reply, uint64_t reply_room,
                        bool again) {
  if (const uint64_t generation = directory_.policy().generation();
      generation != policy_generation_) {
    policy_generation_ = generation;
    policy_ = directory_.policy().Get();
  }
  const uint32_t opcode = request.header.opcode;
  const Operation* operation = Find(opcode);
  if (operation == nullptr || policy_->ServiceOf(opcode) == Service::kAsk)
    return {Answer::Kind::kAsk, 0};

  const auto count = [&] {
    if (!again) counters_.OfOpcode(opcode).Add();
  };
  // Without room for the header nobody could learn what became of it, so nothing is done.
  const bool answerable = request.writable.size >= sizeof(fuse_out_header);
  if (!answerable && !operation->silent) {
    count();
    return {Answer::Kind::kSilent, 0};
  }
  reply_ = reply;
  capacity_ =
      answerable ? std::min(request.writable.size - sizeof(fuse_out_header), reply_room) : 0;
  in_place_ = false;
  waits_ = false;
  int64_t result = -EINVAL;
  if (request.body_size >= operation->in_size && capacity_ >= operation->out_size)
    result = (this->*operation->handler)(request);
  if (waits_) return {Answer::Kind::kWait, 0};
  count();
  // The process's limit is none of the caller's process in the guest.
  if (result == -EMFILE) result = -ENFILE;
  if (result < 0) counters_.errors.Add();
  if (operation->silent) return {Answer::Kind::kSilent, 0};
  return {in_place_ && result >= 0 ? Answer::Kind::kInPlace : Answer::Kind::kBody, result};
}

void DataPlane::AfterReply() {
  if (released_ == nullptr) return;
  // Closing may take long.
  AnnounceWork();
  CloseFile(directory_, std::move(released_));
}

}  // namespace viewfsd
