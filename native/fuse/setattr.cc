// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdint>

#include "fuse/data_plane.h"
#include "host/file_syscalls.h"

namespace viewfsd {

int64_t DataPlane::Setattr(const FuseRequest& request) {
  const auto in = request.In<fuse_setattr_in>();
  if ((in.valid & FATTR_SIZE) != 0 && in.size > INT64_MAX) return -EFBIG;
  SetattrRequest changes = {
      .valid = in.valid,
      .mode = in.mode,
      .uid = in.uid,
      .gid = in.gid,
      .size = static_cast<int64_t>(in.size),
      .fh = in.fh,
      .atime = static_cast<int64_t>(in.atime),
      .atimensec = in.atimensec,
      .mtime = static_cast<int64_t>(in.mtime),
      .mtimensec = in.mtimensec,
  };
  if ((in.valid & FATTR_UID) != 0 && !directory_.uids_to_host().Translate(&changes.uid))
    return -EPERM;
  if ((in.valid & FATTR_GID) != 0 && !directory_.gids_to_host().Translate(&changes.gid))
    return -EPERM;
  fuse_attr_out out;
  const int64_t result = SetAttributes(directory_, request.header.nodeid, changes, &out);
  // A program on the host holds a lease on a file whose size is to change.
  if (result == -EWOULDBLOCK) waits_ = true;
  return result < 0 ? result : Put(out);
}

}  // namespace viewfsd
