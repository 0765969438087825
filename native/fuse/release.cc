// SPDX-License-Identifier: Apache-2.0
// RELEASE and RELEASEDIR. The guest ignores the result and need not wait for the close
// (DataPlane::AfterReply).
#include "fuse/data_plane.h"

namespace viewfsd {

int64_t DataPlane::Release(const FuseRequest& request) {
  const uint64_t fh = request.In<fuse_release_in>().fh;
  const uint64_t nodeid = request.header.nodeid;
  directory_.locks().DropHandle(nodeid, fh);
  released_ = directory_.handles().Remove(fh, nodeid, HandleKind::kFile);
  return 0;
}

int64_t DataPlane::Releasedir(const FuseRequest& request) {
  released_ = directory_.handles().Remove(request.In<fuse_release_in>().fh, request.header.nodeid,
                                          HandleKind::kDirectory);
  return 0;
}

}  // namespace viewfsd
