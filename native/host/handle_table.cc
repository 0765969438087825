// SPDX-License-Identifier: Apache-2.0
#include "host/handle_table.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "session/guest_session.h"

namespace viewfsd {

namespace {

// More handles than a process has descriptors for.
constexpr size_t kMostHandles = size_t{1} << 24;
// Handles that are released and that requests under way still refer to.
constexpr size_t kInUse = 65536;
// More than there are requests that open something at a time.
constexpr size_t kGiven = 2048;

// From what the guest has to what the record has, and back.
uint64_t Recorded(uint64_t fh) { return fh == 0 ? HandleRecord::kZero : fh; }
uint64_t Shown(uint64_t fh) { return fh == HandleRecord::kZero ? 0 : fh; }

size_t MostHandles(size_t limit) { return std::min(limit, kMostHandles) + kInUse; }

}  // namespace

size_t HandleTable::BytesFor(size_t limit) {
  const size_t most = MostHandles(limit);
  return TableMemory::BytesOf<State>(1) + RecordPool<HandleRecord>::BytesFor(most) +
         RecordIndex<HandleRecord, ByFh>::BytesFor(most) + GivenLog::BytesFor(kGiven);
}

HandleTable::HandleTable(TableMemory& memory, size_t limit, DescriptorBudget& budget)
    : budget_(budget),
      state_(memory.Reserve<State>(1)),
      records_(memory, MostHandles(limit)),
      by_fh_(memory, records_, MostHandles(limit)),
      given_(memory, kGiven) {}

uint32_t HandleTable::FindOpen(uint64_t fh, uint64_t nodeid, HandleKind kind) const {
  const uint32_t index = by_fh_.Find(Recorded(fh));
  if (index == 0) return 0;
  const HandleRecord& handle = records_[index];
  return handle.nodeid == nodeid && handle.kind == kind ? index : 0;
}

HandleRef HandleTable::Refer(uint32_t index) {
  if (index == 0) return HandleRef();
  HandleRecord& handle = records_[index];
  handle.references.fetch_add(1, std::memory_order_relaxed);
  const bool is_directory = handle.kind == HandleKind::kDirectory;
  return HandleRef(this, &handle, is_directory ? streams_[index].get() : nullptr);
}

void HandleTable::PutStream(uint32_t index, std::unique_ptr<DirectoryStream> stream) {
  if (streams_.size() <= index) streams_.resize(std::max<size_t>(index + 1, 2 * streams_.size()));
  streams_[index] = std::move(stream);
}

int64_t HandleTable::Add(uint64_t nodeid, UniqueFd fd, HandleKind kind, bool writes,
                         std::optional<uint64_t> reserved) {
  std::unique_ptr<DirectoryStream> stream;
  if (kind == HandleKind::kDirectory) stream = std::make_unique<DirectoryStream>();
  const std::lock_guard lock(mutex_);
  if (!InPresentSession()) return -ENOTCONN;
  if (reserved && (*reserved > state_->fhs || by_fh_.Find(Recorded(*reserved)) != 0))
    return -EEXIST;
  if (!budget_.Take()) return -ENFILE;
  const uint32_t index = records_.Take();
  if (index == 0) {
    budget_.Give(1);
    return -ENFILE;
  }
  HandleRecord& handle = *new (&records_[index]) HandleRecord();
  handle.nodeid = nodeid;
  handle.fd = fd.release();
  handle.kind = kind;
  handle.writes = writes;
  if (stream != nullptr) PutStream(index, std::move(stream));
  const uint64_t fh = reserved ? Recorded(*reserved) : ++state_->fhs;
  given_.Note(fh, 0, index, GivenRecord::kRaised);
  handle.fh.store(fh, std::memory_order_release);
  by_fh_.Insert(index);
  return static_cast<int64_t>(Shown(fh));
}

uint64_t HandleTable::next_fh() {
  const std::lock_guard lock(mutex_);
  return state_->fhs + 1;
}

void HandleTable::Reserve(uint64_t next) {
  const std::lock_guard lock(mutex_);
  state_->fhs = std::max(state_->fhs, next - 1);
}

HandleRef HandleTable::Get(uint64_t fh, uint64_t nodeid, HandleKind kind) {
  const std::lock_guard lock(mutex_);
  return Refer(FindOpen(fh, nodeid, kind));
}

HandleRef HandleTable::Find(uint64_t nodeid, bool writable) {
  const std::lock_guard lock(mutex_);
  uint32_t found = 0;
  records_.ForEach([&](uint32_t index) {
    const HandleRecord& handle = records_[index];
    if (found != 0 || handle.fh == 0 || handle.nodeid != nodeid || handle.kind != HandleKind::kFile)
      return;
    const int access = fcntl(handle.fd, F_GETFL) & O_ACCMODE;
    if (access == O_RDWR || (access == O_RDONLY && !writable)) found = index;
  });
  return Refer(found);
}

// Takes a handle out of everything; it ends here unless somebody refers to it.
ReleasedHandle HandleTable::Take(uint32_t index) {
  HandleRecord& handle = records_[index];
  ReleasedHandle released = {
      .nodeid = handle.nodeid, .writes = handle.writes, .fd = {}, .stream = {}};
  by_fh_.Erase(index);
  handle.fh.store(0, std::memory_order_release);
  budget_.Give(1);
  if (handle.references.fetch_sub(1, std::memory_order_acq_rel) == 1) Free(index, &released);
  return released;
}

void HandleTable::Free(uint32_t index, ReleasedHandle* released) {
  HandleRecord& handle = records_[index];
  released->fd.reset(std::exchange(handle.fd, -1));
  if (handle.kind == HandleKind::kDirectory) released->stream = std::move(streams_[index]);
  records_.Give(index);
}

void HandleTable::Drop(HandleRecord& record) {
  // Ends after the lock is gone.
  ReleasedHandle last;
  const std::lock_guard lock(mutex_);
  Free(records_.IndexOf(record), &last);
}

ReleasedHandle HandleTable::Remove(uint64_t fh, uint64_t nodeid, HandleKind kind) {
  const std::lock_guard lock(mutex_);
  const uint32_t index = FindOpen(fh, nodeid, kind);
  return index == 0 ? ReleasedHandle() : Take(index);
}

std::vector<HandleTable::Open> HandleTable::From(size_t* place) {
  std::vector<Open> open;
  const std::lock_guard lock(mutex_);
  *place = records_.ForBlock(*place, [&](uint32_t index) {
    const HandleRecord& handle = records_[index];
    if (handle.fh != 0) open.push_back({Shown(handle.fh), handle.nodeid, handle.kind});
  });
  return open;
}

void HandleTable::Clear() {
  // End after the lock is gone.
  std::vector<ReleasedHandle> all;
  const std::lock_guard lock(mutex_);
  records_.ForEach([&](uint32_t index) {
    if (records_[index].fh != 0) all.push_back(Take(index));
  });
}

size_t HandleTable::size() {
  const std::lock_guard lock(mutex_);
  return by_fh_.size();
}

}  // namespace viewfsd
