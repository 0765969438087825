// SPDX-License-Identifier: Apache-2.0
// READ and WRITE: one system call between the file and the guest's buffers, no copy in between.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>

#include "fuse/data_plane.h"
#include "fuse/repeated_append.h"
#include "host/credentials.h"
#include "session/finished_work.h"

namespace viewfsd {
namespace {

// The guest's file flags of one write (they may differ from those at open) as RWF_*. `placed`: the
// guest has found the write's place in the file, whatever the handle that carries it was opened
// with: a page of its cache, or anything of a guest with a write-back cache.
int WriteFlags(const fuse_write_in& in, bool placed) {
  int flags = 0;
  if ((in.flags & O_SYNC) == O_SYNC)
    flags |= RWF_SYNC;
  else if ((in.flags & O_DSYNC) != 0)
    flags |= RWF_DSYNC;
  if ((in.flags & O_APPEND) != 0 && !placed) flags |= RWF_APPEND;
  return flags;
}

// Whether a file that the guest has opened so bypasses the page cache here, too: then even
// RWF_NOWAIT waits for the disk.
bool IsDirect(uint32_t guest_flags, int fd) {
  return (guest_flags & O_DIRECT) != 0 && (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

bool EndsInRange(uint64_t offset, uint64_t size) {
  return offset <= static_cast<uint64_t>(INT64_MAX) - size;
}

}  // namespace

// Whether the next read or write is tried with RWF_NOWAIT.
bool DataPlane::Tries(Wait wait) const {
  return wait == Wait::kAsk && (must_not_wait() || WorkWaits());
}

int64_t DataPlane::Read(const FuseRequest& request) {
  const auto in = request.In<fuse_read_in>();
  const uint64_t size = in.size;
  if (size > request.writable.size - sizeof(fuse_out_header)) return -EINVAL;
  // No file is that long.
  if (!EndsInRange(in.offset, size)) return 0;
  HandleRef handle = directory_.handles().Get(in.fh, request.header.nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  const int fd = handle.fd();
  uint64_t total = 0;
  iovec pieces[IOV_MAX];
  // A read that has to wait must not hold back other requests, or the completions before it.
  const bool direct = IsDirect(in.flags, fd);
  const Wait wait = direct ? Wait::kMay : handle.waits().reads();
  if (wait == Wait::kMay) {
    if (must_not_wait())
      return direct && directory_.IsLocal(request.header.nodeid)
                 ? PutOffRead(std::move(handle), in, total)
                 : kWouldWait;
    AnnounceWork();
  }
  int flags = Tries(wait) ? RWF_NOWAIT : 0;
  // A guest takes a short reply for the end of the file, so a read that stopped for another reason
  // must say so: read on until nothing comes.
  while (total < size) {
    uint64_t taken = 0;
    const int count =
        request.writable.Slice(sizeof(fuse_out_header) + total, size - total, pieces, &taken);
    const ssize_t got = preadv2(fd, pieces, count, static_cast<off_t>(in.offset + total), flags);
    if (got < 0 && flags != 0 && (errno == EAGAIN || errno == EOPNOTSUPP)) {
      if (errno == EOPNOTSUPP) handle.waits().LearnReads(fd);
      const Wait now = handle.waits().reads();
      if (now != Wait::kNever) {
        // One that has RWF_NOWAIT.
        if (must_not_wait() && now == Wait::kAsk) return PutOffRead(std::move(handle), in, total);
        if (must_not_wait()) return kWouldWait;
        AnnounceWork();
      }
      flags = 0;
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) break;
    total += static_cast<uint64_t>(got);
  }
  moved_ = total;
  in_place_ = true;
  return static_cast<int64_t>(total);
}

// The kernel can do it on its own: no thread needs to wait.
int64_t DataPlane::PutOffRead(HandleRef handle, const fuse_read_in& in, uint64_t done) {
  pending_read_ = {std::move(handle), in.offset, in.size, done};
  return kWouldWait;
}

// How much of an append a server that has ended has written, by a descriptor that can read.
uint64_t DataPlane::AppendedBefore(const FuseRequest& request, uint64_t size) {
  const InodeRef inode = directory_.inodes().Get(request.header.nodeid);
  const UniqueFd file(inode == nullptr ? -1 : directory_.Reopen(inode, O_RDONLY | O_NONBLOCK));
  return file ? Appended(file.get(), request, size) : 0;
}

int64_t DataPlane::Write(const FuseRequest& request) {
  const auto in = request.In<fuse_write_in>();
  const uint64_t size = in.size;
  if (size > request.payload_size) return -EINVAL;
  if (!EndsInRange(in.offset, size)) return -EFBIG;
  const HandleRef handle =
      directory_.handles().Get(in.fh, request.header.nodeid, HandleKind::kFile);
  if (handle == nullptr) return -EBADF;
  const bool cached = (in.write_flags & FUSE_WRITE_CACHE) != 0;
  const int flags = WriteFlags(in, cached || policy_->writeback_cache);
  // What has to reach the disk waits for it in any case.
  const bool synced = (flags & (RWF_DSYNC | RWF_SYNC)) != 0;
  Wait wait = synced || IsDirect(in.flags, handle.fd()) ? Wait::kMay : handle.waits().writes();
  if (wait == Wait::kSeldom && must_not_wait() && directory_.MayWait(request.header.nodeid))
    wait = Wait::kMay;
  if (wait == Wait::kMay) {
    if (must_not_wait()) return kWouldWait;
    AnnounceWork();
  }
  int nowait = Tries(wait) ? RWF_NOWAIT : 0;
  std::optional<ScopedWithoutFsetid> ordinary;
  if ((in.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0) {
    directory_.DropCapability(request.header.nodeid);
    ordinary.emplace();
  }
  if (!cached) directory_.ChangedByGuest(request.header.nodeid);
  uint64_t& total = moved_;
  total = request.payload_done;
  if ((flags & RWF_APPEND) != 0) {
    if (request.repeated) total = AppendedBefore(request, size);
    NoteEnd(handle.fd(), request);
  }
  iovec pieces[IOV_MAX];
  while (total < size) {
    uint64_t taken = 0;
    const int count =
        request.readable.Slice(request.payload_offset + total, size - total, pieces, &taken);
    const ssize_t put =
        pwritev2(handle.fd(), pieces, count, static_cast<off_t>(in.offset + total), flags | nowait);
    if (nowait != 0 &&
        (put < 0 ? errno == EAGAIN || errno == EOPNOTSUPP : static_cast<uint64_t>(put) < taken)) {
      const bool refused = put < 0 && errno == EOPNOTSUPP;
      if (put > 0) total += static_cast<uint64_t>(put);
      if (refused) handle.waits().LearnWrites(handle.fd());
      if (const Wait now = handle.waits().writes(); now != Wait::kNever && now != Wait::kSeldom) {
        if (must_not_wait()) return kWouldWait;
        AnnounceWork();
      }
      nowait = 0;
      continue;
    }
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && total == 0) return -errno;
    if (put < 0) break;
    total += static_cast<uint64_t>(put);
    // A short write is the guest's to go on with, except where we handed over less than all.
    if (static_cast<uint64_t>(put) < taken) break;
  }
  return Put(fuse_write_out{.size = static_cast<uint32_t>(total), .padding = 0});
}

}  // namespace viewfsd
