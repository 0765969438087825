// SPDX-License-Identifier: Apache-2.0
// What makes an inode: CREATE, TMPFILE, MKDIR, MKNOD, SYMLINK. What is made is the caller's, by the
// ids that the host knows for the guest's, and has its label before the guest hears of it.
#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "fuse/component.h"
#include "fuse/data_plane.h"
#include "fuse/extensions.h"
#include "host/file_syscalls.h"
#include "host/label.h"
#include "host/open_files.h"

namespace viewfsd {

namespace {

// PATH_MAX of Linux, the NUL included.
constexpr size_t kTargetMax = 4096;

// The reply to CREATE and TMPFILE.
struct Created {
  fuse_entry_out entry;
  fuse_open_out open;
};
static_assert(sizeof(Created) == sizeof(fuse_entry_out) + sizeof(fuse_open_out));

CreateRequest CreateArguments(const FuseRequest& request, const fuse_create_in& in) {
  return {.parent = request.header.nodeid,
          .flags = static_cast<int>(in.flags),
          .mode = in.mode,
          .kill_suidgid = (in.open_flags & FUSE_OPEN_KILL_SUIDGID) != 0};
}

}  // namespace

// What all of them have.
struct DataPlane::Making {
  const char* name = nullptr;
  // Of SYMLINK.
  const char* target = nullptr;
  Caller caller = {};
  Label label;
};

int DataPlane::TakeCaller(const FuseRequest& request, uint32_t umask, std::vector<gid_t> groups,
                          Caller* caller) const {
  *caller = {request.header.uid, request.header.gid, std::move(groups),
             policy_->applies_umask ? umask : 0};
  const IdRanges& gids = directory_.gids_to_host();
  bool allowed = directory_.uids_to_host().Translate(&caller->uid) && gids.Translate(&caller->gid);
  for (gid_t& group : caller->groups) allowed = gids.Translate(&group) && allowed;
  return allowed ? 0 : -EPERM;
}

// `umask`: which the guest has applied itself unless it leaves that to the host. `names`: how many
// follow the operation's own struct, of `in_size` bytes.
int DataPlane::TakeMaking(const FuseRequest& request, uint32_t in_size, uint32_t umask,
                          uint32_t names, Making* making) const {
  Extensions extensions;
  uint32_t end;
  if (const int result = TakeExtensions(request, *policy_, &extensions, &end); result < 0)
    return result;
  if (end < in_size) return -EINVAL;
  uint32_t position = in_size;
  if (names > 0) {
    const int result = TakeComponent(request.body + position, end - position, &making->name);
    if (result < 0) return result;
    position += static_cast<uint32_t>(strlen(making->name)) + 1;
  }
  if (names > 1) {
    making->target = reinterpret_cast<const char*>(request.body) + position;
    const size_t length = strnlen(making->target, end - position);
    if (length == end - position || length == 0) return -EINVAL;
    if (length >= kTargetMax) return -ENAMETOOLONG;
    position += static_cast<uint32_t>(length) + 1;
  }
  if (names > 0) {
    const int result =
        TakeTrailingLabel(request.body + position, end - position, *policy_, &extensions.label);
    if (result < 0) return result;
  }
  if (policy_->labels) making->label = extensions.label;
  return TakeCaller(request, umask, std::move(extensions.groups), &making->caller);
}

// Gives what has just been made its label. Where that fails, it is as if nothing had been made.
// `result`: of its making; `fh`: its handle, or nothing.
int64_t DataPlane::PutLabel(const FuseRequest& request, const Making& making, mode_t type,
                            int64_t result, uint64_t nodeid, const uint64_t* fh) {
  const Label& label = making.label;
  if (result < 0 || label.name == nullptr) return result;
  const int64_t labelled = SetLabel(directory_, nodeid, type, label.name, label.value, label.size);
  if (labelled >= 0) return result;
  if (fh != nullptr)
    CloseFile(directory_, directory_.handles().Remove(*fh, nodeid, HandleKind::kFile));
  if (making.name != nullptr)
    RemoveName(directory_, request.header.nodeid, making.name, S_ISDIR(type) ? AT_REMOVEDIR : 0);
  directory_.inodes().TakeBack(nodeid);
  return labelled;
}

int64_t DataPlane::PutMade(const FuseRequest& request, const Making& making, mode_t type,
                           int64_t result, const fuse_entry_out& entry) {
  result = PutLabel(request, making, type, result, entry.nodeid, nullptr);
  return result < 0 ? result : Put(entry);
}

int64_t DataPlane::Create(const FuseRequest& request) {
  const auto in = request.In<fuse_create_in>();
  Making making;
  if (const int result = TakeMaking(request, sizeof(in), in.umask, 1, &making); result < 0)
    return result;
  const CreateRequest create = CreateArguments(request, in);
  Created out;
  bool made;
  int64_t result = CreateFile(directory_, policy_->open, making.name, create, making.caller,
                              &out.entry, &out.open, &made);
  // Somebody else has made it, and a program on the host holds a lease on it, which it has now been
  // asked to give up.
  if (result == -EWOULDBLOCK && (in.flags & O_NONBLOCK) == 0) waits_ = true;
  // Another's file has another's label.
  if (made) result = PutLabel(request, making, S_IFREG, result, out.entry.nodeid, &out.open.fh);
  return result < 0 ? result : Put(out);
}

// The name that comes with the request (Linux sends "/") means nothing.
int64_t DataPlane::Tmpfile(const FuseRequest& request) {
  const auto in = request.In<fuse_create_in>();
  Making making;
  if (const int result = TakeMaking(request, sizeof(in), in.umask, 0, &making); result < 0)
    return result;
  const CreateRequest create = CreateArguments(request, in);
  Created out;
  int64_t result =
      CreateTemporaryFile(directory_, policy_->open, create, making.caller, &out.entry, &out.open);
  result = PutLabel(request, making, S_IFREG, result, out.entry.nodeid, &out.open.fh);
  return result < 0 ? result : Put(out);
}

int64_t DataPlane::Mkdir(const FuseRequest& request) {
  const auto in = request.In<fuse_mkdir_in>();
  Making making;
  if (const int result = TakeMaking(request, sizeof(in), in.umask, 1, &making); result < 0)
    return result;
  fuse_entry_out entry;
  const int64_t result =
      MakeDirectory(directory_, request.header.nodeid, making.name, in.mode, making.caller, &entry);
  return PutMade(request, making, S_IFDIR, result, entry);
}

int64_t DataPlane::Mknod(const FuseRequest& request) {
  const auto in = request.In<fuse_mknod_in>();
  Making making;
  if (const int result = TakeMaking(request, sizeof(in), in.umask, 1, &making); result < 0)
    return result;
  fuse_entry_out entry;
  const int64_t result = MakeNode(directory_, request.header.nodeid, making.name, in.mode, in.rdev,
                                  making.caller, &entry);
  return PutMade(request, making, in.mode & S_IFMT, result, entry);
}

int64_t DataPlane::Symlink(const FuseRequest& request) {
  Making making;
  if (const int result = TakeMaking(request, 0, 0, 2, &making); result < 0) return result;
  fuse_entry_out entry;
  const int64_t result = MakeSymlink(directory_, request.header.nodeid, making.name, making.target,
                                     making.caller, &entry);
  return PutMade(request, making, S_IFLNK, result, entry);
}

}  // namespace viewfsd
