// SPDX-License-Identifier: Apache-2.0
// What brings data to the disk, or makes room for them there: FLUSH, FSYNC, FSYNCDIR, SYNCFS,
// FALLOCATE, COPY_FILE_RANGE and COPY_FILE_RANGE_64. All of them may take long.
#include <algorithm>
#include <cerrno>

#include "fuse/data_plane.h"
#include "host/file_syscalls.h"

namespace viewfsd {
namespace {

// The most that the reply to COPY_FILE_RANGE, 32 bits, can report; Linux stops there by itself.
constexpr uint64_t kMaxCopy32 = 0xffff'f000;

}  // namespace

// Whether FALLOCATE and COPY_FILE_RANGE take setuid and setgid away. A guest with
// HANDLE_KILLPRIV_V2 leaves it to the server and does not say for whom: since 7.42
// (FUSE_ALLOW_IDMAP) their uid is -1. Root's bits go then, too.
bool DataPlane::ClearsSetid(const FuseRequest& request) const {
  return policy_->handles_killpriv && request.header.uid != 0;
}

int64_t DataPlane::Flush(const FuseRequest& request) {
  const auto in = request.In<fuse_flush_in>();
  const uint64_t nodeid = request.header.nodeid;
  if (policy_->posix_locks) directory_.locks().Drop(nodeid, in.lock_owner);
  return FlushFile(directory_, nodeid, in.fh);
}

int64_t DataPlane::Sync(const FuseRequest& request, HandleKind kind) {
  const auto in = request.In<fuse_fsync_in>();
  return SyncHandle(directory_, request.header.nodeid, in.fh, kind,
                    (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0);
}

int64_t DataPlane::Fsync(const FuseRequest& request) { return Sync(request, HandleKind::kFile); }

int64_t DataPlane::Fsyncdir(const FuseRequest& request) {
  return Sync(request, HandleKind::kDirectory);
}

int64_t DataPlane::Syncfs(const FuseRequest& request) {
  return SyncFileSystem(directory_, request.header.nodeid);
}

int64_t DataPlane::Fallocate(const FuseRequest& request) {
  const auto in = request.In<fuse_fallocate_in>();
  if (in.offset > INT64_MAX || in.length > INT64_MAX - in.offset) return -EFBIG;
  return Allocate(directory_, request.header.nodeid, in.fh, static_cast<int>(in.mode),
                  static_cast<int64_t>(in.offset), static_cast<int64_t>(in.length),
                  ClearsSetid(request));
}

int64_t DataPlane::Copy(const FuseRequest& request, uint64_t most) {
  const auto in = request.In<fuse_copy_file_range_in>();
  if (in.off_in > INT64_MAX || in.off_out > INT64_MAX) return -EFBIG;
  if (in.flags != 0) return -EINVAL;
  const uint64_t room = INT64_MAX - std::max(in.off_in, in.off_out);
  const FileRange from = {request.header.nodeid, in.fh_in, static_cast<int64_t>(in.off_in)};
  const FileRange to = {in.nodeid_out, in.fh_out, static_cast<int64_t>(in.off_out)};
  return CopyRange(directory_, from, to, static_cast<int64_t>(std::min({in.len, most, room})),
                   ClearsSetid(request));
}

int64_t DataPlane::CopyFileRange(const FuseRequest& request) {
  const int64_t copied = Copy(request, kMaxCopy32);
  if (copied < 0) return copied;
  return Put(fuse_write_out{.size = static_cast<uint32_t>(copied), .padding = 0});
}

// struct fuse_copy_file_range_out, which older headers lack: the bytes copied, in 64 bits.
int64_t DataPlane::CopyFileRange64(const FuseRequest& request) {
  const int64_t copied = Copy(request, INT64_MAX);
  if (copied < 0) return copied;
  return Put(static_cast<uint64_t>(copied));
}

}  // namespace viewfsd
