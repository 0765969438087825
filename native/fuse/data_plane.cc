// SPDX-License-Identifier: Apache-2.0
#include "fuse/data_plane.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "fuse/request_pool.h"
#include "host/open_files.h"
#include "session/finished_work.h"

namespace viewfsd {

const DataPlane::Operation* DataPlane::Find(uint32_t opcode) {
  // The shortest name, with its NUL.
  constexpr uint32_t kName = 2;
  static const std::array<Operation, ServicePolicy::kOpcodes> operations = [] {
    std::array<Operation, ServicePolicy::kOpcodes> table;
    table[FUSE_LOOKUP] = {&DataPlane::Lookup, kName, sizeof(fuse_entry_out), false, true};
    table[FUSE_FORGET] = {&DataPlane::Forget, sizeof(fuse_forget_in), 0, true};
    table[FUSE_BATCH_FORGET] = {&DataPlane::BatchForget, sizeof(fuse_batch_forget_in), 0, true};
    table[FUSE_GETATTR] = {&DataPlane::Getattr, sizeof(fuse_getattr_in), sizeof(fuse_attr_out),
                           false, true};
    table[FUSE_OPEN] = {&DataPlane::Open, sizeof(fuse_open_in), sizeof(fuse_open_out), false, true};
    table[FUSE_OPENDIR] = {&DataPlane::Opendir, sizeof(fuse_open_in), sizeof(fuse_open_out), false,
                           true};
    table[FUSE_READ] = {&DataPlane::Read, sizeof(fuse_read_in)};
    table[FUSE_WRITE] = {&DataPlane::Write, sizeof(fuse_write_in), sizeof(fuse_write_out)};
    table[FUSE_FLUSH] = {&DataPlane::Flush, sizeof(fuse_flush_in), 0, false, true};
    table[FUSE_FSYNC] = {&DataPlane::Fsync, sizeof(fuse_fsync_in), 0, false, false, false, true};
    table[FUSE_FSYNCDIR] = {
        &DataPlane::Fsyncdir, sizeof(fuse_fsync_in), 0, false, false, false, true};
    table[FUSE_SYNCFS] = {&DataPlane::Syncfs, sizeof(fuse_syncfs_in)};
    table[FUSE_FALLOCATE] = {&DataPlane::Fallocate, sizeof(fuse_fallocate_in)};
    table[FUSE_COPY_FILE_RANGE] = {&DataPlane::CopyFileRange, sizeof(fuse_copy_file_range_in),
                                   sizeof(fuse_write_out)};
    table[kCopyFileRange64] = {&DataPlane::CopyFileRange64, sizeof(fuse_copy_file_range_in),
                               sizeof(uint64_t)};
    table[FUSE_READDIR] = {&DataPlane::Readdir, sizeof(fuse_read_in), 0, false, true};
    table[FUSE_READDIRPLUS] = {&DataPlane::Readdirplus, sizeof(fuse_read_in), 0, false, true};
    constexpr uint32_t kCreated = sizeof(fuse_entry_out) + sizeof(fuse_open_out);
    table[FUSE_CREATE] = {
        &DataPlane::Create, sizeof(fuse_create_in) + kName, kCreated, false, true, true};
    table[kTmpfile] = {&DataPlane::Tmpfile, sizeof(fuse_create_in), kCreated, false, true, true};
    table[FUSE_MKDIR] = {&DataPlane::Mkdir,
                         sizeof(fuse_mkdir_in) + kName,
                         sizeof(fuse_entry_out),
                         false,
                         true,
                         true};
    table[FUSE_MKNOD] = {&DataPlane::Mknod,
                         sizeof(fuse_mknod_in) + kName,
                         sizeof(fuse_entry_out),
                         false,
                         true,
                         true};
    table[FUSE_SYMLINK] = {
        &DataPlane::Symlink, 2 * kName, sizeof(fuse_entry_out), false, true, true};
    table[FUSE_UNLINK] = {&DataPlane::Unlink, kName, 0, false, true, true};
    table[FUSE_RMDIR] = {&DataPlane::Rmdir, kName, 0, false, true, true};
    table[FUSE_RENAME] = {
        &DataPlane::Rename, sizeof(fuse_rename_in) + 2 * kName, 0, false, true, true};
    table[FUSE_RENAME2] = {
        &DataPlane::Rename2, sizeof(fuse_rename2_in) + 2 * kName, 0, false, true, true};
    table[FUSE_SETATTR] = {
        &DataPlane::Setattr, sizeof(fuse_setattr_in), sizeof(fuse_attr_out), false, true, true};
    table[FUSE_SETUPMAPPING] = {&DataPlane::Setupmapping, sizeof(fuse_setupmapping_in)};
    table[FUSE_REMOVEMAPPING] = {&DataPlane::Removemapping, sizeof(fuse_removemapping_in)};
    table[FUSE_RELEASE] = {&DataPlane::Release, sizeof(fuse_release_in), 0, false, true};
    table[FUSE_RELEASEDIR] = {&DataPlane::Releasedir, sizeof(fuse_release_in), 0, false, true};
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
  if (directory_.lost().any() && IsLost(request)) {
    const Answer lost = {Answer::Kind::kBody, -EIO};
    Count(opcode, lost);
    return lost;
  }
  const Operation* operation = Find(opcode);
  if (operation == nullptr || policy_->ServiceOf(opcode) == Service::kAsk)
    return {Answer::Kind::kAsk, 0};

  // Without room for the header nobody could learn what became of it, so nothing is done.
  Answer answer = {Answer::Kind::kSilent, 0};
  if (request.writable.size >= sizeof(fuse_out_header) || operation->silent) {
    // What has waited for a lease is tried here.
    if (pool_ != nullptr && !again && IsPutOff(*operation, request))
      return {Answer::Kind::kPutOff, 0};
    if (operation->once && directory_.MayWait(request.header.nodeid)) AnnounceWork();
    answer = Perform(*operation, request, reply, reply_room);
  }
  if (answer.kind == Answer::Kind::kPutOff || answer.kind == Answer::Kind::kWait) return answer;
  if (again)
    CountResult(opcode, answer);
  else
    Count(opcode, answer);
  return answer;
}

// Whether a request is about an inode that is known to be lost; to forget or close it is none.
bool DataPlane::IsLost(const FuseRequest& request) const {
  switch (request.header.opcode) {
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return false;
    default:
      return directory_.lost().Has(request.header.nodeid);
  }
}

Answer DataPlane::ServePutOff(const FuseRequest& request,
                              std::shared_ptr<const ServicePolicy> policy, uint8_t* reply,
                              uint64_t reply_room) {
  policy_ = std::move(policy);
  return Perform(*Find(request.header.opcode), request, reply, reply_room);
}

// Before anything is done; a handler may find out more.
bool DataPlane::IsPutOff(const Operation& operation, const FuseRequest& request) {
  const uint64_t nodeid = request.header.nodeid;
  if (policy_->ServiceOf(request.header.opcode) == Service::kPool &&
      !(operation.syncs && directory_.IsMemory(nodeid)))
    return true;
  if (operation.asks && directory_.MayWait(nodeid)) return true;
  return pool_->Busy(OrderOf(request));
}

Order DataPlane::OrderOf(const FuseRequest& request) {
  uint64_t nodeid = request.header.nodeid;
  switch (request.header.opcode) {
    case FUSE_WRITE:
    case FUSE_FALLOCATE:
      break;
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_RELEASE:
      return {nodeid, false};
    case FUSE_COPY_FILE_RANGE:
    case kCopyFileRange64:
      if (request.body_size < sizeof(fuse_copy_file_range_in)) return {};
      nodeid = request.In<fuse_copy_file_range_in>().nodeid_out;
      break;
    default:
      return {};
  }
  return {nodeid, nodeid != 0};
}

Answer DataPlane::Perform(const Operation& operation, const FuseRequest& request, uint8_t* reply,
                          uint64_t reply_room) {
  const bool answerable = request.writable.size >= sizeof(fuse_out_header);
  reply_ = reply;
  capacity_ =
      answerable ? std::min(request.writable.size - sizeof(fuse_out_header), reply_room) : 0;
  in_place_ = false;
  waits_ = false;
  interrupted_ = false;
  moved_ = 0;
  int64_t result = -EINVAL;
  if (request.body_size >= operation.in_size && capacity_ >= operation.out_size)
    result = (this->*operation.handler)(request);
  if (waits_) return {Answer::Kind::kWait, 0};
  if (interrupted_) return {Answer::Kind::kInterrupted, 0};
  if (result == kWouldWait) return {Answer::Kind::kPutOff, 0, moved_};
  // The process's limit is none of the caller's process in the guest.
  if (result == -EMFILE) result = -ENFILE;
  if (operation.silent) return {Answer::Kind::kSilent, result};
  return {in_place_ && result >= 0 ? Answer::Kind::kInPlace : Answer::Kind::kBody, result, moved_};
}

void DataPlane::Count(uint32_t opcode, const Answer& answer) {
  counters_->OfOpcode(opcode).Add();
  CountResult(opcode, answer);
}

void DataPlane::CountResult(uint32_t opcode, const Answer& answer) {
  if (answer.value < 0) counters_->errors.Add();
  switch (opcode) {
    case FUSE_READ:
      counters_->bytes_read.Add(answer.moved);
      break;
    case FUSE_WRITE:
      counters_->bytes_written.Add(answer.moved);
      break;
    case FUSE_SETUPMAPPING:
      if (answer.kind == Answer::Kind::kInterrupted) break;
      (answer.value < 0 ? counters_->mappings_refused : counters_->mappings_set_up).Add();
      counters_->mappings_set_up_writable.Add(answer.moved);
      break;
    case FUSE_REMOVEMAPPING:
      counters_->mappings_removed.Add(answer.moved);
      break;
    default:
      break;
  }
}

void DataPlane::AfterReply() {
  if (released_.nodeid == 0) return;
  // Closing may take long.
  AnnounceWork();
  CloseFile(directory_, std::exchange(released_, ReleasedHandle()));
}

}  // namespace viewfsd
