// SPDX-License-Identifier: Apache-2.0
// READDIR and READDIRPLUS.
#include "host/directory.h"

#include <algorithm>

#include "fuse/data_plane.h"

namespace viewfsd {

int64_t DataPlane::List(const FuseRequest& request, bool plus) {
  const auto in = request.In<fuse_read_in>();
  const uint64_t size = std::min<uint64_t>(in.size, capacity_);
  return ReadDirectory(directory_, request.header.nodeid, in.fh, static_cast<int64_t>(in.offset),
                       plus, reply_, size);
}

int64_t DataPlane::Readdir(const FuseRequest& request) { return List(request, false); }

int64_t DataPlane::Readdirplus(const FuseRequest& request) { return List(request, true); }

}  // namespace viewfsd
