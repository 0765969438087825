// SPDX-License-Identifier: Apache-2.0
// The operations of the control plane on a shared directory, for JavaScript; native/operations.ts
// declares them, file_request.h has their arguments.
#include "binding/operation_exports.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "binding/file_request.h"
#include "host/file_syscalls.h"
#include "host/xattr.h"

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

int64_t Statx(const Request& request) {
  return GetStatx(request.directory(), request.nodeid(), request.U32(Request::kMask),
                  request.Reply(kStatxOutSize));
}

int64_t Readlink(const Request& request) {
  const Bytes room = request.ReplyRoom();
  return ReadLink(request.directory(), request.nodeid(), reinterpret_cast<char*>(room.data),
                  room.size);
}

int64_t Link(const Request& request) {
  const char* name = request.Component(Request::kNameOffset);
  if (name == nullptr) return -EINVAL;
  return Fill<fuse_entry_out>(request, [&](fuse_entry_out* entry) {
    return MakeLink(request.directory(), request.U64(Request::kOtherNodeid), request.nodeid(), name,
                    entry);
  });
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
  add("statx", Call<Statx>);
  add("readlink", Call<Readlink>);
  add("link", Call<Link>);
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
