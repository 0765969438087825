// SPDX-License-Identifier: Apache-2.0
// LOOKUP, FORGET, BATCH_FORGET, GETATTR.
#include <cerrno>
#include <cstring>
#include <string_view>

#include "fuse/component.h"
#include "fuse/data_plane.h"

namespace viewfsd {

using std::string_view_literals::operator""sv;

int64_t DataPlane::Lookup(const FuseRequest& request) {
  const uint64_t nodeid = request.header.nodeid;
  const std::string_view body(reinterpret_cast<const char*>(request.body), request.body_size);
  fuse_entry_out entry;
  int64_t result;
  // Asked for by nodeid alone, by a guest that opens a file handle of its own (exportfs). Windows
  // guests find the root so, which is both of itself.
  const bool root = nodeid == InodeTable::kRootNodeid;
  const bool self = body.starts_with(".\0"sv);
  const bool parent = body.starts_with("..\0"sv);
  if ((self && (root || directory_.exports())) || (parent && root)) {
    result = directory_.LookupSelf(nodeid, &entry);
  } else if (parent && directory_.exports()) {
    result = directory_.LookupParent(nodeid, &entry);
  } else {
    const char* name;
    result = TakeComponent(request.body, request.body_size, &name);
    if (result == 0) result = directory_.Lookup(nodeid, name, policy_->negative_entries, &entry);
  }
  return result < 0 ? result : Put(entry);
}

int64_t DataPlane::Forget(const FuseRequest& request) {
  if (request.repeated && directory_.inodes().CountForgotten() > 0) return 0;
  directory_.Forget(request.header.nodeid, request.In<fuse_forget_in>().nlookup);
  return 0;
}

// A count that does not fit the request makes the whole request void.
int64_t DataPlane::BatchForget(const FuseRequest& request) {
  const uint32_t count = request.In<fuse_batch_forget_in>().count;
  const uint8_t* first = request.body + sizeof(fuse_batch_forget_in);
  if (count > (request.body_size - sizeof(fuse_batch_forget_in)) / sizeof(fuse_forget_one))
    return -EINVAL;
  const size_t done = request.repeated ? directory_.inodes().CountForgotten() : 0;
  for (size_t i = done; i < count; i++) {
    fuse_forget_one one;
    memcpy(&one, first + i * sizeof(one), sizeof(one));
    directory_.Forget(one.nodeid, one.nlookup);
  }
  return 0;
}

// The open handle that may come with the request is of the same inode, so the nodeid alone decides.
int64_t DataPlane::Getattr(const FuseRequest& request) {
  fuse_attr_out out;
  const int64_t result = directory_.GetAttributes(request.header.nodeid, &out);
  return result < 0 ? result : Put(out);
}

}  // namespace viewfsd
