// SPDX-License-Identifier: Apache-2.0
// OPEN and OPENDIR.
#include <fcntl.h>

#include <cerrno>

#include "fuse/data_plane.h"
#include "host/open_files.h"

namespace viewfsd {

int64_t DataPlane::Open(const FuseRequest& request) {
  const auto in = request.In<fuse_open_in>();
  const auto flags = static_cast<int>(in.flags);
  fuse_open_out out;
  const int64_t result = OpenFile(directory_, policy_->open,
                                  {.nodeid = request.header.nodeid,
                                   .flags = flags,
                                   .kill_suidgid = (in.open_flags & FUSE_OPEN_KILL_SUIDGID) != 0,
                                   .pid = request.header.pid},
                                  &out);
  // A lease on the host is in the way, which its holder has now been asked to give up.
  if (result == -EWOULDBLOCK && (flags & O_NONBLOCK) == 0) waits_ = true;
  return result < 0 ? result : Put(out);
}

int64_t DataPlane::Opendir(const FuseRequest& request) {
  fuse_open_out out;
  const int64_t result = OpenDirectory(directory_, policy_->open, request.header.nodeid, &out);
  return result < 0 ? result : Put(out);
}

}  // namespace viewfsd
