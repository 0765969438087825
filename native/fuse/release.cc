// SPDX-License-Identifier: Apache-2.0
// RELEASE and RELEASEDIR. The guest ignores the result and need not wait for the close
// (DataPlane::AfterReply).
#include <sys/file.h>

#include "fuse/data_plane.h"

namespace viewfsd {

namespace {

// Before the handle goes: whoever keeps a copy of its descriptor keeps no lock then.
void Unlock(HandleTable& handles, uint64_t nodeid, uint64_t fh) {
  const HandleRef handle = handles.Get(fh, nodeid, HandleKind::kFile);
  if (handle != nullptr) flock(handle.fd(), LOCK_UN);
}

}  // namespace

int64_t DataPlane::Release(const FuseRequest& request) {
  const auto in = request.In<fuse_release_in>();
  const uint64_t fh = in.fh;
  const uint64_t nodeid = request.header.nodeid;
  directory_.locks().DropHandle(nodeid, fh);
  if ((in.release_flags & FUSE_RELEASE_FLOCK_UNLOCK) != 0) Unlock(directory_.handles(), nodeid, fh);
  released_ = directory_.handles().Remove(fh, nodeid, HandleKind::kFile);
  return 0;
}

int64_t DataPlane::Releasedir(const FuseRequest& request) {
  released_ = directory_.handles().Remove(request.In<fuse_release_in>().fh, request.header.nodeid,
                                          HandleKind::kDirectory);
  return 0;
}

}  // namespace viewfsd
