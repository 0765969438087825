// SPDX-License-Identifier: Apache-2.0
#include "host/handle_table.h"

#include <fcntl.h>

#include <cerrno>

#include "session/guest_session.h"

namespace viewfsd {

namespace {

bool Matches(const Handle& handle, uint64_t nodeid, HandleKind kind) {
  return handle.nodeid == nodeid && (handle.stream != nullptr) == (kind == HandleKind::kDirectory);
}

}  // namespace

int64_t HandleTable::Add(HandleRef handle) {
  const std::lock_guard lock(mutex_);
  if (!InPresentSession()) return -ENOTCONN;
  if (!budget_.Take()) return -ENFILE;
  const uint64_t fh = next_fh_++;
  handles_.emplace(fh, std::move(handle));
  return static_cast<int64_t>(fh);
}

HandleRef HandleTable::Get(uint64_t fh, uint64_t nodeid, HandleKind kind) {
  const std::lock_guard lock(mutex_);
  const auto found = handles_.find(fh);
  if (found == handles_.end() || !Matches(*found->second, nodeid, kind)) return nullptr;
  return found->second;
}

HandleRef HandleTable::Find(uint64_t nodeid, bool writable) {
  const std::lock_guard lock(mutex_);
  for (const auto& [fh, handle] : handles_) {
    if (!Matches(*handle, nodeid, HandleKind::kFile)) continue;
    const int access = fcntl(handle->fd.get(), F_GETFL) & O_ACCMODE;
    if (access == O_RDWR || (access == O_RDONLY && !writable)) return handle;
  }
  return nullptr;
}

HandleRef HandleTable::Remove(uint64_t fh, uint64_t nodeid, HandleKind kind) {
  const std::lock_guard lock(mutex_);
  const auto found = handles_.find(fh);
  if (found == handles_.end() || !Matches(*found->second, nodeid, kind)) return nullptr;
  HandleRef handle = std::move(found->second);
  handles_.erase(found);
  budget_.Give(1);
  return handle;
}

void HandleTable::Clear() {
  // Closes after the lock is gone.
  std::unordered_map<uint64_t, HandleRef> closed;
  const std::lock_guard lock(mutex_);
  closed.swap(handles_);
  budget_.Give(closed.size());
}

size_t HandleTable::size() {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace viewfsd
