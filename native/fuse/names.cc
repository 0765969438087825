// SPDX-License-Identifier: Apache-2.0
// UNLINK, RMDIR, RENAME, RENAME2.
#include <fcntl.h>
#include <linux/fs.h>

#include <cerrno>
#include <cstring>

#include "fuse/component.h"
#include "fuse/data_plane.h"
#include "host/file_syscalls.h"

namespace viewfsd {

int64_t DataPlane::Unlink(const FuseRequest& request) { return Remove(request, 0); }

int64_t DataPlane::Rmdir(const FuseRequest& request) { return Remove(request, AT_REMOVEDIR); }

int64_t DataPlane::Remove(const FuseRequest& request, int flags) {
  const char* name;
  const int result = TakeComponent(request.body, request.body_size, &name);
  return result < 0 ? result : RemoveName(directory_, request.header.nodeid, name, flags);
}

int64_t DataPlane::Rename(const FuseRequest& request) {
  const auto in = request.In<fuse_rename_in>();
  return RenameTo(request, sizeof(in), in.newdir, 0);
}

int64_t DataPlane::Rename2(const FuseRequest& request) {
  const auto in = request.In<fuse_rename2_in>();
  if ((in.flags & ~uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) != 0)
    return -EINVAL;
  return RenameTo(request, sizeof(in), in.newdir, in.flags);
}

// `names`: where the two names begin.
int64_t DataPlane::RenameTo(const FuseRequest& request, uint32_t names, uint64_t new_parent,
                            uint32_t flags) {
  const char* name;
  const char* new_name;
  uint32_t position = names;
  int result = TakeComponent(request.body + position, request.body_size - position, &name);
  if (result < 0) return result;
  position += static_cast<uint32_t>(strlen(name)) + 1;
  result = TakeComponent(request.body + position, request.body_size - position, &new_name);
  if (result < 0) return result;
  // Whose the device node is that a whiteout leaves in place of the name.
  Caller caller = {};
  if ((flags & RENAME_WHITEOUT) != 0) result = TakeCaller(request, 0, {}, &caller);
  return result < 0 ? result
                    : RenameName(directory_, request.header.nodeid, name, new_parent, new_name,
                                 flags, caller);
}

}  // namespace viewfsd
