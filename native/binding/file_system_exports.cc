// SPDX-License-Identifier: Apache-2.0
// The shared directory's operations for JavaScript, as one object `fileSystem`;
// native/file-system.ts declares them. Each takes a shared directory's number first. Names, values
// and replies are ranges of byte arrays, so that a request is served without copying or allocating.
// A range outside of its array is the caller's bug and throws; all that a guest can get wrong comes
// back as -errno.
#include "binding/file_system_exports.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "binding/errno_error.h"
#include "host/credentials.h"
#include "host/directory.h"
#include "host/file_syscalls.h"
#include "host/open_files.h"
#include "host/proc_fds.h"
#include "host/shared_directory.h"
#include "host/xattr.h"
#include "util/unique_fd.h"

namespace viewfsd {

namespace {

using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

double DoubleArgument(const Info& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsNumber())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

// A u64 of the guest's, where only small ones mean anything: a nodeid, an fh, a count. What is too
// large to be exact becomes UINT64_MAX.
uint64_t U64Argument(const Info& info, size_t index, const char* name) {
  const double value = DoubleArgument(info, index, name);
  return value >= 0 && value < 9007199254740992.0 ? static_cast<uint64_t>(value) : UINT64_MAX;
}

// Seconds since the epoch, as far as an int64_t goes.
int64_t SecondsArgument(const Info& info, size_t index, const char* name) {
  const double value = DoubleArgument(info, index, name);
  if (!(value > -9223372036854775808.0)) return INT64_MIN;
  return value < 9223372036854775807.0 ? static_cast<int64_t>(value) : INT64_MAX;
}

uint32_t U32Argument(const Info& info, size_t index, const char* name) {
  return static_cast<uint32_t>(IntegerArgument(info, index, name, 0, UINT32_MAX));
}

// `bytes`, `offset`, `length` at `index` and after. One byte more than `length` is in the array
// where `terminated`.
Bytes RangeArgument(const Info& info, size_t index, const char* name, bool terminated) {
  const Bytes all = BytesArgument(info, index, name);
  const uint64_t offset = OffsetArgument(info, index + 1, name);
  const uint64_t length = OffsetArgument(info, index + 2, name);
  const uint64_t needed = length + (terminated ? 1 : 0);
  if (offset > all.size || needed > all.size - offset)
    throw Napi::RangeError::New(info.Env(), std::string(name) + " leaves its array");
  return {all.data + offset, static_cast<size_t>(length)};
}

// A name, or null for one that can't be a component.
const char* ComponentArgument(const Info& info, size_t index) {
  const Bytes range = RangeArgument(info, index, "name", true);
  const char* name = reinterpret_cast<const char*>(range.data);
  return IsComponent(name, range.size) ? name : nullptr;
}

// A string of any bytes but NUL, or null.
const char* TextArgument(const Info& info, size_t index) {
  const Bytes range = RangeArgument(info, index, "text", true);
  const char* text = reinterpret_cast<const char*>(range.data);
  return strnlen(text, range.size + 1) == range.size ? text : nullptr;
}

// `bytes`, `offset` at `index` and after: room for a struct of `size` bytes.
uint8_t* ReplyArgument(const Info& info, size_t index, size_t size) {
  const Bytes all = BytesArgument(info, index, "reply");
  const uint64_t offset = OffsetArgument(info, index + 1, "reply offset");
  if (offset > all.size || size > all.size - offset)
    throw Napi::RangeError::New(info.Env(), "the reply leaves its array");
  return all.data + offset;
}

// `umask`, `uid`, `gid`, `groups..` at `index` and after.
Caller CallerArgument(const Info& info, size_t index) {
  Caller caller = {.uid = U32Argument(info, index + 1, "uid"),
                   .gid = U32Argument(info, index + 2, "gid"),
                   .groups = {},
                   .umask = U32Argument(info, index, "umask")};
  const Bytes groups = RangeArgument(info, index + 3, "groups", false);
  if (groups.size == 0) return caller;
  caller.groups.resize(groups.size / sizeof(gid_t));
  memcpy(caller.groups.data(), groups.data, caller.groups.size() * sizeof(gid_t));
  return caller;
}

// Lets an operation fill in a struct and copies it to the reply, which need not be aligned.
template <typename Struct, typename Operation>
Napi::Value Fill(const Info& info, size_t reply_index, Operation operation) {
  uint8_t* reply = ReplyArgument(info, reply_index, sizeof(Struct));
  Struct filled;
  const int64_t result = operation(&filled);
  if (result >= 0) memcpy(reply, &filled, sizeof(filled));
  return Number(info, result);
}

// What the process needs besides: libraries, sockets, rings, memory regions, mappings under way.
constexpr size_t kReservedDescriptors = 512;
// Each keeps an inode of the host in its memory, some 1.5 KiB.
constexpr size_t kMaxCached = 131'072;
// Some 65 MB, if a guest walks through more than that many files and forgets them.
constexpr size_t kRemembered = 262'144;

DirectoryLimits LimitsFor(size_t inodes) {
  struct rlimit limit;
  size_t total = 1024;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    total = limit.rlim_cur;
  const size_t cached = std::min(kMaxCached, total / 4);
  const size_t reserved = std::min(kReservedDescriptors, total / 4);
  return {inodes, total - cached - reserved, cached, kRemembered};
}

// create(path, entryTimeout, attributeTimeout, fileHandles, inodeLimit)
Napi::Value Create(const Info& info) {
  const std::string path = StringArgument(info, 0, "path");
  const CacheTimeouts timeouts = {OffsetArgument(info, 1, "entryTimeout"),
                                  OffsetArgument(info, 2, "attributeTimeout")};
  const auto handle_use = static_cast<HandleUse>(IntegerArgument(info, 3, "fileHandles", 0, 2));
  const uint64_t inodes = OffsetArgument(info, 4, "inodeLimit");
  UniqueFd root(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) throw ErrnoError(info.Env(), errno, "open", path);
  UniqueFd proc_fds(fcntl(ProcFds(), F_DUPFD_CLOEXEC, 0));
  if (!proc_fds) throw ErrnoError(info.Env(), errno, "open", "/proc/self/fd");
  auto directory = std::make_unique<SharedDirectory>(std::move(root), std::move(proc_fds), timeouts,
                                                     handle_use, LimitsFor(inodes));
  int result = directory->Initialize();
  if (result < 0) throw ErrnoError(info.Env(), -result, "open_by_handle_at", path);
  result = RegisterSharedDirectory(std::move(directory));
  if (result < 0) throw ErrnoError(info.Env(), -result, "createSharedDirectory");
  return Number(info, result);
}

// fileHandles(directory): 0 or -errno
Napi::Value FileHandles(const Info& info) {
  return Number(info, DirectoryArgument(info).root_handles());
}

// isPseudo(directory)
Napi::Value IsPseudoJs(const Info& info) {
  return Number(info, DirectoryArgument(info).root_is_pseudo() ? 1 : 0);
}

// setDescriptorLimit(wanted)
Napi::Value SetDescriptorLimit(const Info& info) {
  const rlim_t wanted = OffsetArgument(info, 0, "wanted");
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) throw ErrnoError(info.Env(), errno, "getrlimit");
  struct rlimit changed = {wanted, wanted};
  if (setrlimit(RLIMIT_NOFILE, &changed) < 0) {
    // Above fs.nr_open, or without CAP_SYS_RESOURCE: what is allowed.
    changed = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &changed) < 0) changed = limit;
  }
  return Number(info, static_cast<int64_t>(std::min<rlim_t>(changed.rlim_cur, INT32_MAX)));
}

Napi::Value AttachThreadJs(const Info& info) {
  const int result = AttachThread();
  if (result < 0) throw ErrnoError(info.Env(), -result, "unshare");
  return info.Env().Undefined();
}

void Reset(const Info& info) { DirectoryArgument(info).Reset(); }

// begin(directory, submounts, exports)
void Begin(const Info& info) {
  DirectoryArgument(info).Begin(BooleanArgument(info, 1, "submounts"),
                                BooleanArgument(info, 2, "exports"));
}

// setDaxPolicy(directory, enabled, minSize, minAge, fileSystems)
void SetDaxPolicy(const Info& info) {
  DaxPolicy policy = {.enabled = BooleanArgument(info, 1, "enabled"),
                      .min_size = OffsetArgument(info, 2, "minSize"),
                      .min_age = IntegerArgument(info, 3, "minAge", 0),
                      .file_systems = {}};
  if (!info[4].IsArray()) throw Napi::TypeError::New(info.Env(), "fileSystems must be an array");
  const Napi::Array types = info[4].As<Napi::Array>();
  for (uint32_t i = 0; i < types.Length(); i++)
    policy.file_systems.push_back(types.Get(i).ToNumber().Int64Value());
  DirectoryArgument(info).set_dax_policy(policy);
}

// setDaxReserve(directory, reserve)
void SetDaxReserve(const Info& info) {
  DirectoryArgument(info).set_reserves(BooleanArgument(info, 1, "reserve"));
}

// A Uint32Array of quadruples: first, count, guest, squash.
IdRanges IdRangesArgument(const Info& info, size_t index) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
    throw Napi::TypeError::New(info.Env(), "ranges must be a Uint32Array");
  const auto numbers = value.As<Napi::Uint32Array>();
  std::vector<IdRange> ranges;
  for (size_t i = 0; i + 3 < numbers.ElementLength(); i += 4)
    ranges.push_back({numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3] != 0});
  return IdRanges(std::move(ranges));
}

// setIds(directory, uids, gids)
void SetIds(const Info& info) {
  DirectoryArgument(info).set_ids(IdRangesArgument(info, 1), IdRangesArgument(info, 2));
}

// setCapabilityName(directory, name)
void SetCapabilityName(const Info& info) {
  DirectoryArgument(info).set_capability_name(StringArgument(info, 1, "name"));
}

// A number of 32 bits that is a property of an object.
uint32_t U32Property(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber())
    throw Napi::TypeError::New(object.Env(), std::string(name) + " must be a number");
  return value.As<Napi::Number>().Uint32Value();
}

bool BooleanProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean())
    throw Napi::TypeError::New(object.Env(), std::string(name) + " must be a boolean");
  return value.As<Napi::Boolean>().Value();
}

Napi::Object ObjectArgument(const Info& info, size_t index, const char* name) {
  if (!info[index].IsObject())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be an object");
  return info[index].As<Napi::Object>();
}

// publishPolicy(directory, services, agreed, open, windowSize)
void PublishPolicy(const Info& info) {
  const Bytes services = BytesArgument(info, 1, "services");
  ServicePolicy policy;
  if (services.size != policy.services.size())
    throw Napi::RangeError::New(info.Env(), "services must have an entry for each opcode");
  for (size_t opcode = 0; opcode < services.size; opcode++)
    policy.services[opcode] = static_cast<Service>(std::min<uint8_t>(services.data[opcode], 2));
  const Napi::Object agreed = ObjectArgument(info, 2, "agreed");
  policy.writeback_cache = BooleanProperty(agreed, "writebackCache");
  policy.posix_locks = BooleanProperty(agreed, "posixLocks");
  policy.handles_killpriv = BooleanProperty(agreed, "handlesKillpriv");
  policy.negative_entries = BooleanProperty(agreed, "negativeEntries");
  const Napi::Object open = ObjectArgument(info, 3, "open");
  policy.open = {
      .read_only = BooleanProperty(open, "readOnly"),
      .passed = U32Property(open, "passedFlags"),
      .reads_always = BooleanProperty(open, "readsAlways"),
      .may_write_only = BooleanProperty(open, "mayWriteOnly"),
      .asks_again = BooleanProperty(open, "asksAgain"),
      .file_flags = {U32Property(open, "changedFile"), U32Property(open, "unchangedFile"),
                     U32Property(open, "unsizedFile")},
      .directory_flags = {U32Property(open, "changedDirectory"),
                          U32Property(open, "unchangedDirectory")},
      .unflushed_flags = U32Property(open, "unflushed"),
  };
  policy.window = {.size = OffsetArgument(info, 4, "windowSize"),
                   .shown = BooleanProperty(agreed, "windowShown")};
  DirectoryArgument(info).policy().Publish(policy);
}

// takeRefusedOwner(): [uid, gid], or undefined
Napi::Value TakeRefusedOwnerJs(const Info& info) {
  const std::optional<RefusedOwner> refused = TakeRefusedOwner();
  if (!refused) return info.Env().Undefined();
  Napi::Array ids = Napi::Array::New(info.Env(), 2);
  ids.Set(0u, Napi::Number::New(info.Env(), refused->uid));
  ids.Set(1u, Napi::Number::New(info.Env(), refused->gid));
  return ids;
}

// forget(directory, nodeid, nlookup)
void Forget(const Info& info) {
  DirectoryArgument(info).Forget(U64Argument(info, 1, "nodeid"), U64Argument(info, 2, "nlookup"));
}

// setattr(directory, nodeid, valid, mode, uid, gid, size, fh, atime, atimensec, mtime, mtimensec,
// reply, replyOffset)
Napi::Value Setattr(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  SetattrRequest request;
  request.valid = U32Argument(info, 2, "valid");
  request.mode = U32Argument(info, 3, "mode");
  request.uid = U32Argument(info, 4, "uid");
  request.gid = U32Argument(info, 5, "gid");
  // Not checked where it does not count.
  request.size = SecondsArgument(info, 6, "size");
  request.fh = U64Argument(info, 7, "fh");
  request.atime = SecondsArgument(info, 8, "atime");
  request.atimensec = U32Argument(info, 9, "atimensec");
  request.mtime = SecondsArgument(info, 10, "mtime");
  request.mtimensec = U32Argument(info, 11, "mtimensec");
  return Fill<fuse_attr_out>(
      info, 12, [&](fuse_attr_out* out) { return SetAttributes(directory, nodeid, request, out); });
}

// statx(directory, nodeid, mask, reply, replyOffset)
Napi::Value Statx(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const uint32_t mask = U32Argument(info, 2, "mask");
  return Number(info, GetStatx(directory, nodeid, mask, ReplyArgument(info, 3, kStatxOutSize)));
}

// readlink(directory, nodeid, reply, replyOffset, size)
Napi::Value Readlink(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const Bytes reply = RangeArgument(info, 2, "reply", false);
  return Number(info, ReadLink(directory, nodeid, reinterpret_cast<char*>(reply.data), reply.size));
}

// symlink(directory, parent, name.., target.., umask, uid, gid, groups.., reply, replyOffset)
Napi::Value Symlink(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t parent = U64Argument(info, 1, "parent");
  const char* name = ComponentArgument(info, 2);
  const char* target = TextArgument(info, 5);
  const Caller caller = CallerArgument(info, 8);
  if (name == nullptr || target == nullptr) return Number(info, -EINVAL);
  return Fill<fuse_entry_out>(info, 14, [&](fuse_entry_out* entry) {
    return MakeSymlink(directory, parent, name, target, caller, entry);
  });
}

// mknod(directory, parent, name.., mode, rdev, umask, uid, gid, groups.., reply, replyOffset)
Napi::Value Mknod(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t parent = U64Argument(info, 1, "parent");
  const char* name = ComponentArgument(info, 2);
  const uint32_t mode = U32Argument(info, 5, "mode");
  const uint32_t rdev = U32Argument(info, 6, "rdev");
  const Caller caller = CallerArgument(info, 7);
  if (name == nullptr) return Number(info, -EINVAL);
  return Fill<fuse_entry_out>(info, 13, [&](fuse_entry_out* entry) {
    return MakeNode(directory, parent, name, mode, rdev, caller, entry);
  });
}

// mkdir(directory, parent, name.., mode, umask, uid, gid, groups.., reply, replyOffset)
Napi::Value Mkdir(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t parent = U64Argument(info, 1, "parent");
  const char* name = ComponentArgument(info, 2);
  const uint32_t mode = U32Argument(info, 5, "mode");
  const Caller caller = CallerArgument(info, 6);
  if (name == nullptr) return Number(info, -EINVAL);
  return Fill<fuse_entry_out>(info, 12, [&](fuse_entry_out* entry) {
    return MakeDirectory(directory, parent, name, mode, caller, entry);
  });
}

// unlink(directory, parent, name..), rmdir likewise
template <int flags>
Napi::Value Remove(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t parent = U64Argument(info, 1, "parent");
  const char* name = ComponentArgument(info, 2);
  return Number(info, name == nullptr ? -EINVAL : Unlink(directory, parent, name, flags));
}

// rename(directory, parent, name.., newParent, newName.., flags, umask, uid, gid, groups..)
Napi::Value RenameJs(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t parent = U64Argument(info, 1, "parent");
  const char* name = ComponentArgument(info, 2);
  const uint64_t new_parent = U64Argument(info, 5, "newParent");
  const char* new_name = ComponentArgument(info, 6);
  const uint32_t flags = U32Argument(info, 9, "flags");
  const Caller caller = CallerArgument(info, 10);
  if (name == nullptr || new_name == nullptr) return Number(info, -EINVAL);
  return Number(info, Rename(directory, parent, name, new_parent, new_name, flags, caller));
}

// link(directory, nodeid, newParent, newName.., reply, replyOffset)
Napi::Value Link(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const uint64_t new_parent = U64Argument(info, 2, "newParent");
  const char* name = ComponentArgument(info, 3);
  if (name == nullptr) return Number(info, -EINVAL);
  return Fill<fuse_entry_out>(info, 6, [&](fuse_entry_out* entry) {
    return MakeLink(directory, nodeid, new_parent, name, entry);
  });
}

int FlagsArgument(const Info& info, size_t index) {
  return static_cast<int>(U32Argument(info, index, "flags"));
}

// Lets an operation fill in struct fuse_entry_out and fuse_open_out and copies both to the reply.
template <typename Operation>
Napi::Value FillCreated(const Info& info, size_t reply_index, Operation operation) {
  uint8_t* reply = ReplyArgument(info, reply_index, sizeof(fuse_entry_out) + sizeof(fuse_open_out));
  const std::shared_ptr<const ServicePolicy> policy = DirectoryArgument(info).policy().Get();
  fuse_entry_out entry;
  fuse_open_out open;
  const int64_t result = operation(policy->open, &entry, &open);
  if (result < 0) return Number(info, result);
  memcpy(reply, &entry, sizeof(entry));
  memcpy(reply + sizeof(entry), &open, sizeof(open));
  return Number(info, static_cast<int64_t>(open.fh));
}

// create(directory, parent, name.., flags, mode, killSuidgid, umask, uid, gid, groups.., reply,
// replyOffset)
Napi::Value CreateFileJs(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const char* name = ComponentArgument(info, 2);
  const CreateRequest request = {.parent = U64Argument(info, 1, "parent"),
                                 .flags = FlagsArgument(info, 5),
                                 .mode = U32Argument(info, 6, "mode"),
                                 .kill_suidgid = BooleanArgument(info, 7, "killSuidgid")};
  const Caller caller = CallerArgument(info, 8);
  if (name == nullptr) return Number(info, -EINVAL);
  return FillCreated(info, 14,
                     [&](const OpenPolicy& policy, fuse_entry_out* entry, fuse_open_out* open) {
                       return CreateFile(directory, policy, name, request, caller, entry, open);
                     });
}

// tmpfile(directory, parent, flags, mode, umask, uid, gid, groups.., reply, replyOffset)
Napi::Value Tmpfile(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const CreateRequest request = {.parent = U64Argument(info, 1, "parent"),
                                 .flags = FlagsArgument(info, 2),
                                 .mode = U32Argument(info, 3, "mode"),
                                 .kill_suidgid = false};
  const Caller caller = CallerArgument(info, 4);
  return FillCreated(info, 10,
                     [&](const OpenPolicy& policy, fuse_entry_out* entry, fuse_open_out* open) {
                       return CreateTemporaryFile(directory, policy, request, caller, entry, open);
                     });
}

int64_t FileOffsetArgument(const Info& info, size_t index, const char* name) {
  return static_cast<int64_t>(OffsetArgument(info, index, name));
}

// release(directory, nodeid, fh)
Napi::Value Release(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  return Number(info, ReleaseHandle(directory, U64Argument(info, 1, "nodeid"),
                                    U64Argument(info, 2, "fh"), HandleKind::kFile));
}

// lseek(directory, nodeid, fh, offset, whence)
Napi::Value Lseek(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  return Number(info, Seek(directory, U64Argument(info, 1, "nodeid"), U64Argument(info, 2, "fh"),
                           FileOffsetArgument(info, 3, "offset"),
                           static_cast<int>(U32Argument(info, 4, "whence"))));
}

// ioctl(directory, nodeid, fh, isDirectory, command, argument.., reply..)
Napi::Value IoctlJs(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const uint64_t fh = U64Argument(info, 2, "fh");
  const HandleKind kind =
      BooleanArgument(info, 3, "isDirectory") ? HandleKind::kDirectory : HandleKind::kFile;
  const uint32_t command = U32Argument(info, 4, "command");
  const Bytes given = RangeArgument(info, 5, "argument", false);
  const Bytes reply = RangeArgument(info, 8, "reply", false);
  uint8_t argument[kIoctlArgumentSize] = {};
  memcpy(argument, given.data, std::min(given.size, sizeof(argument)));
  const int64_t result = FileIoctl(directory, nodeid, fh, kind, command, argument);
  if (result > 0) {
    if (static_cast<size_t>(result) > reply.size) return Number(info, -EINVAL);
    memcpy(reply.data, argument, static_cast<size_t>(result));
  }
  return Number(info, result);
}

LockRequest LockArgument(const Info& info) {
  return {.nodeid = U64Argument(info, 1, "nodeid"),
          .fh = U64Argument(info, 2, "fh"),
          .owner = U32Argument(info, 3, "ownerLow") |
                   (uint64_t{U32Argument(info, 4, "ownerHigh")} << 32),
          .start = FileOffsetArgument(info, 5, "start"),
          .length = FileOffsetArgument(info, 6, "length"),
          .type = static_cast<int>(IntegerArgument(info, 7, "type", 0, 2))};
}

// getlk(directory, nodeid, fh, ownerLow, ownerHigh, start, length, type, reply, replyOffset)
Napi::Value Getlk(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const LockRequest request = LockArgument(info);
  return Fill<fuse_lk_out>(info, 8,
                           [&](fuse_lk_out* out) { return GetLock(directory, request, out); });
}

// setlk(directory, nodeid, fh, ownerLow, ownerHigh, start, length, type, flock)
Napi::Value Setlk(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const LockRequest request = LockArgument(info);
  return Number(info, BooleanArgument(info, 8, "flock") ? SetFlock(directory, request)
                                                        : SetLock(directory, request));
}

// statfs(directory, nodeid, reply, replyOffset)
Napi::Value Statfs(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  return Fill<fuse_kstatfs>(info, 2,
                            [&](fuse_kstatfs* out) { return GetStatfs(directory, nodeid, out); });
}

// setxattr(directory, nodeid, name.., value.., flags, killSgid)
Napi::Value Setxattr(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const char* name = TextArgument(info, 2);
  const Bytes value = RangeArgument(info, 5, "value", false);
  const int flags = FlagsArgument(info, 8);
  const bool kill_sgid = BooleanArgument(info, 9, "killSgid");
  if (name == nullptr) return Number(info, -EINVAL);
  return Number(info, SetXattr(directory, nodeid, name, value.data, value.size, flags, kill_sgid));
}

// getxattr(directory, nodeid, name.., reply, replyOffset, size)
Napi::Value Getxattr(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const char* name = TextArgument(info, 2);
  const Bytes reply = RangeArgument(info, 5, "reply", false);
  if (name == nullptr) return Number(info, -EINVAL);
  return Number(info, GetXattr(directory, nodeid, name, reply.data, reply.size));
}

// listxattr(directory, nodeid, hideAcls, reply, replyOffset, size)
Napi::Value Listxattr(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const bool hide_acls = BooleanArgument(info, 2, "hideAcls");
  const Bytes reply = RangeArgument(info, 3, "reply", false);
  return Number(info, ListXattr(directory, nodeid, reinterpret_cast<char*>(reply.data), reply.size,
                                hide_acls));
}

// removexattr(directory, nodeid, name..)
Napi::Value Removexattr(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  const uint64_t nodeid = U64Argument(info, 1, "nodeid");
  const char* name = TextArgument(info, 2);
  return Number(info, name == nullptr ? -EINVAL : RemoveXattr(directory, nodeid, name));
}

}  // namespace

void InitFileSystem(Napi::Env env, Napi::Object exports) {
  Napi::Object file_system = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) {
    file_system.Set(name, Napi::Function::New(env, function, name));
  };
  add("createSharedDirectory", Create);
  add("setDescriptorLimit", SetDescriptorLimit);
  add("attachThread", AttachThreadJs);
  add("reset", Reset);
  add("begin", Begin);
  add("fileHandles", FileHandles);
  add("isPseudo", IsPseudoJs);
  add("setDaxPolicy", SetDaxPolicy);
  add("setDaxReserve", SetDaxReserve);
  add("setIds", SetIds);
  add("setCapabilityName", SetCapabilityName);
  add("publishPolicy", PublishPolicy);
  add("takeRefusedOwner", TakeRefusedOwnerJs);
  add("forget", Forget);
  add("setattr", Setattr);
  add("statx", Statx);
  add("readlink", Readlink);
  add("symlink", Symlink);
  add("mknod", Mknod);
  add("mkdir", Mkdir);
  add("unlink", Remove<0>);
  add("rmdir", Remove<AT_REMOVEDIR>);
  add("rename", RenameJs);
  add("link", Link);
  add("create", CreateFileJs);
  add("tmpfile", Tmpfile);
  add("release", Release);
  add("lseek", Lseek);
  add("ioctl", IoctlJs);
  add("getlk", Getlk);
  add("setlk", Setlk);
  add("statfs", Statfs);
  add("setxattr", Setxattr);
  add("getxattr", Getxattr);
  add("listxattr", Listxattr);
  add("removexattr", Removexattr);
  exports.Set("fileSystem", file_system);
}

}  // namespace viewfsd
