// SPDX-License-Identifier: Apache-2.0
// A mount below the share as a flat record: what a successor of this process has to know to find it
// again. It counts while `listed` is set.
#ifndef VIEWFSD_MOUNT_RECORD_H_
#define VIEWFSD_MOUNT_RECORD_H_

#include <atomic>
#include <cstdint>

#include "host/file_handle.h"
#include "session/server_state.h"

namespace viewfsd {

// See MountPoint.
struct MountPointRecord {
  // Of the mount that it is in; that one's own while this one counts.
  uint32_t above;
  // Of the directory; -1 where a handle names it, or it is the root of the mount above.
  int32_t fd;
  uint8_t handle_size;
  uint8_t handle[FileHandle::kMaxBytes];
  char name[256];
};

// See Mount.
struct MountRecord {
  uint64_t id;
  uint64_t device;
  uint64_t unique_id;
  int64_t file_system;
  int32_t handles;
  std::atomic<bool> listed;
  // A mount can be moved.
  TwoSets<MountPointRecord> point;
};
static_assert(sizeof(MountRecord) == 840);

}  // namespace viewfsd

#endif  // VIEWFSD_MOUNT_RECORD_H_
