// SPDX-License-Identifier: Apache-2.0
// The operations of the control plane on a shared directory, for JavaScript; native/operations.ts
// declares them, file_request.h has their arguments.
#include "binding/operation_exports.h"

#include <fcntl.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "binding/file_request.h"
#include "host/file_syscalls.h"
#include "host/open_files.h"
#include "host/xattr.h"
#include "session/service_policy.h"

namespace viewfsd {
namespace {

using Request = FileRequest;

// Lets an operation fill in a struct and copies it to the reply.
template <typename Struct, typename Operation>
int64_t Fill(const Request& request, Operation operation) {
  uint8_t* reply = request.Reply(sizeof(Struct));
  Struct filled;
  const int64_t result = operation(&filled);
  if (result >= 0) memcpy(reply, &filled, sizeof(filled));
  return result;
}

// The same with struct fuse_entry_out and fuse_open_out. Returns the new handle's fh.
template <typename Operation>
int64_t FillCreated(const Request& request, Operation operation) {
  uint8_t* reply = request.Reply(sizeof(fuse_entry_out) + sizeof(fuse_open_out));
  const std::shared_ptr<const ServicePolicy> policy = request.directory().policy().Get();
  fuse_entry_out entry;
  fuse_open_out open;
  const int64_t result = operation(policy->open, &entry, &open);
  if (result < 0) return result;
  memcpy(reply, &entry, sizeof(entry));
  memcpy(reply + sizeof(entry), &open, sizeof(open));
  return static_cast<int64_t>(open.fh);
}

int64_t Setattr(const Request& request) {
  const SetattrRequest changes = {
      .valid = request.U32(Request::kValid),
      .mode = request.U32(Request::kMode),
      .uid = request.U32(Request::kUid),
      .gid = request.U32(Request::kGid),
      .size = request.I64(Request::kSize),
      .fh = request.fh(),
      .atime = request.I64(Request::kAtime),
      .atimensec = request.U32(Request::kAtimensec),
      .mtime = request.I64(Request::kMtime),
      .mtimensec = request.U32(Request::kMtimensec),
  };
  return Fill<fuse_attr_out>(request, [&](fuse_attr_out* out) {
    return SetAttributes(request.directory(), request.nodeid(), changes, out);
  });
}

int64_t Statx(const Request& request) {
  return GetStatx(request.directory(), request.nodeid(), request.U32(Request::kMask),
                  request.Reply(kStatxOutSize));
}

int64_t Readlink(const Request& request) {
  const Bytes room = request.ReplyRoom();
  return ReadLink(request.directory(), request.nodeid(), reinterpret_cast<char*>(room.data),
                  room.size);
}

int64_t Symlink(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  const char* target = request.Text(Request::kSecondOffset);
  if (name == nullptr || target == nullptr) return -EINVAL;
  return Fill<fuse_entry_out>(request, [&](fuse_entry_out* entry) {
    return MakeSymlink(request.directory(), request.nodeid(), name, target, request.caller(),
                       entry);
  });
}

int64_t Mknod(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return Fill<fuse_entry_out>(request, [&](fuse_entry_out* entry) {
    return MakeNode(request.directory(), request.nodeid(), name, request.U32(Request::kMode),
                    request.U32(Request::kRdev), request.caller(), entry);
  });
}

int64_t Mkdir(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return Fill<fuse_entry_out>(request, [&](fuse_entry_out* entry) {
    return MakeDirectory(request.directory(), request.nodeid(), name, request.U32(Request::kMode),
                         request.caller(), entry);
  });
}

// UNLINK and RMDIR.
template <int flags>
int64_t Remove(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return Unlink(request.directory(), request.nodeid(), name, flags);
}

int64_t RenameEntry(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  const char* new_name = request.Component(Request::kSecondOffset);
  if (name == nullptr || new_name == nullptr) return -EINVAL;
  return Rename(request.directory(), request.nodeid(), name, request.U64(Request::kOtherNodeid),
                new_name, request.U32(Request::kFlags), request.caller());
}

int64_t Link(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return Fill<fuse_entry_out>(request, [&](fuse_entry_out* entry) {
    return MakeLink(request.directory(), request.U64(Request::kOtherNodeid), request.nodeid(), name,
                    entry);
  });
}

CreateRequest CreateArguments(const Request& request) {
  return {.parent = request.nodeid(),
          .flags = request.Int(Request::kFlags),
          .mode = request.U32(Request::kMode),
          .kill_suidgid = request.Flag(Request::kKillSuidgid)};
}

int64_t Create(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return FillCreated(request,
                     [&](const OpenPolicy& policy, fuse_entry_out* entry, fuse_open_out* open) {
                       return CreateFile(request.directory(), policy, name,
                                         CreateArguments(request), request.caller(), entry, open);
                     });
}

int64_t Tmpfile(const Request& request) {
  return FillCreated(
      request, [&](const OpenPolicy& policy, fuse_entry_out* entry, fuse_open_out* open) {
        return CreateTemporaryFile(request.directory(), policy, CreateArguments(request),
                                   request.caller(), entry, open);
      });
}

int64_t Forget(const Request& request) {
  request.directory().Forget(request.nodeid(), request.U64(Request::kNlookup));
  return 0;
}

int64_t Release(const Request& request) {
  return ReleaseHandle(request.directory(), request.nodeid(), request.fh(), HandleKind::kFile);
}

int64_t Lseek(const Request& request) {
  return Seek(request.directory(), request.nodeid(), request.fh(), request.I64(Request::kOffset),
              request.Int(Request::kType));
}

int64_t Ioctl(const Request& request) {
  const HandleKind kind =
      request.Flag(Request::kIsDirectory) ? HandleKind::kDirectory : HandleKind::kFile;
  const Bytes given = request.Range(Request::kSecondOffset);
  const Bytes room = request.ReplyRoom();
  uint8_t argument[kIoctlArgumentSize] = {};
  memcpy(argument, given.data, std::min(given.size, sizeof(argument)));
  const int64_t result = FileIoctl(request.directory(), request.nodeid(), request.fh(), kind,
                                   request.U32(Request::kCommand), argument);
  if (result <= 0) return result;
  if (static_cast<size_t>(result) > room.size) return -EINVAL;
  memcpy(room.data, argument, static_cast<size_t>(result));
  return result;
}

LockRequest LockArguments(const Request& request) {
  return {
      .nodeid = request.nodeid(),
      .fh = request.fh(),
      .owner = request.U32(Request::kOwnerLow) | (uint64_t{request.U32(Request::kOwnerHigh)} << 32),
      .start = request.I64(Request::kOffset),
      .length = request.I64(Request::kLength),
      .type = request.Int(Request::kType)};
}

int64_t Getlk(const Request& request) {
  return Fill<fuse_lk_out>(request, [&](fuse_lk_out* out) {
    return GetLock(request.directory(), LockArguments(request), out);
  });
}

int64_t Setlk(const Request& request) {
  return SetLock(request.directory(), LockArguments(request));
}

int64_t Flock(const Request& request) {
  return SetFlock(request.directory(), LockArguments(request));
}

int64_t Statfs(const Request& request) {
  return Fill<fuse_kstatfs>(request, [&](fuse_kstatfs* out) {
    return GetStatfs(request.directory(), request.nodeid(), out);
  });
}

int64_t Setxattr(const Request& request) {
  const char* name = request.Text(Request::kNameOffset);
  const Bytes value = request.Range(Request::kSecondOffset);
  if (name == nullptr) return -EINVAL;
  return SetXattr(request.directory(), request.nodeid(), name, value.data, value.size,
                  request.Int(Request::kFlags), request.Flag(Request::kKillSuidgid));
}

int64_t Getxattr(const Request& request) {
  const char* name = request.Text(Request::kNameOffset);
  const Bytes room = request.ReplyRoom();
  if (name == nullptr) return -EINVAL;
  return GetXattr(request.directory(), request.nodeid(), name, room.data, room.size);
}

int64_t Listxattr(const Request& request) {
  const Bytes room = request.ReplyRoom();
  return ListXattr(request.directory(), request.nodeid(), reinterpret_cast<char*>(room.data),
                   room.size, request.Flag(Request::kHideAcls));
}

int64_t Removexattr(const Request& request) {
  const char* name = request.Text(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return RemoveXattr(request.directory(), request.nodeid(), name);
}

template <int64_t (*operation)(const Request&)>
Napi::Value Call(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(operation(Request(info))));
}

}  // namespace

void InitOperations(Napi::Env env, Napi::Object exports) {
  Napi::Object operations = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    operations.Set(name, Napi::Function::New(env, function, name));
  };
  add("setattr", Call<Setattr>);
  add("statx", Call<Statx>);
  add("readlink", Call<Readlink>);
  add("symlink", Call<Symlink>);
  add("mknod", Call<Mknod>);
  add("mkdir", Call<Mkdir>);
  add("unlink", Call<Remove<0>>);
  add("rmdir", Call<Remove<AT_REMOVEDIR>>);
  add("rename", Call<RenameEntry>);
  add("link", Call<Link>);
  add("create", Call<Create>);
  add("tmpfile", Call<Tmpfile>);
  add("forget", Call<Forget>);
  add("release", Call<Release>);
  add("lseek", Call<Lseek>);
  add("ioctl", Call<Ioctl>);
  add("getlk", Call<Getlk>);
  add("setlk", Call<Setlk>);
  add("flock", Call<Flock>);
  add("statfs", Call<Statfs>);
  add("setxattr", Call<Setxattr>);
  add("getxattr", Call<Getxattr>);
  add("listxattr", Call<Listxattr>);
  add("removexattr", Call<Removexattr>);
  exports.Set("operations", operations);
}

}  // namespace viewfsd
