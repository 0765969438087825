// SPDX-License-Identifier: Apache-2.0
// Shared directories for JavaScript, as one object `fileSystem`: how they are opened, and what
// holds for a session; native/file-system.ts declares it.
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
#include <string_view>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "binding/errno_error.h"
#include "binding/servers.h"
#include "host/credentials.h"
#include "host/directory.h"
#include "host/file_syscalls.h"
#include "host/open_files.h"
#include "host/proc_fds.h"
#include "host/shared_directory.h"
#include "host/xattr.h"
#include "sandbox/keeper.h"
#include "session/server_state.h"
#include "util/unique_fd.h"

namespace viewfsd {

namespace {

using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

// What the process needs besides: libraries, sockets, rings, memory regions, mappings under way.
constexpr size_t kReservedDescriptors = 512;
// Each keeps an inode of the host in its memory, some 1.5 KiB.
constexpr size_t kMaxCached = 131'072;
// Some 36 MB, if a guest walks through more than that many files and forgets them.
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

// Descriptors that these tables name, of a predecessor that has ended, from its keeper.
int TakeDescriptorsOf(SharedDirectory& directory, int keeper) {
  std::vector<int> numbers;
  const auto add = [&](int fd) { numbers.push_back(fd); };
  directory.inodes().ForEachDescriptor(add);
  directory.handles().ForEachDescriptor(add);
  directory.locks().ForEachDescriptor(add);
  return TakeDescriptors(keeper, numbers);
}

// A descriptor of a directory by its path, or of its own as "/proc/self/fd/N", also where no path
// leads there any more.
UniqueFd OpenRoot(const std::string& path) {
  constexpr std::string_view kOwn = "/proc/self/fd/";
  if (path.starts_with(kOwn)) return UniqueFd(DuplicateOwn(atoi(path.c_str() + kOwn.size())));
  return UniqueFd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// create(path, entryTimeout, attributeTimeout, fileHandles, inodeLimit, tables, keeper)
Napi::Value Create(const Info& info) {
  const std::string path = StringArgument(info, 0, "path");
  const CacheTimeouts timeouts = {OffsetArgument(info, 1, "entryTimeout"),
                                  OffsetArgument(info, 2, "attributeTimeout")};
  const auto handle_use = static_cast<HandleUse>(IntegerArgument(info, 3, "fileHandles", 0, 2));
  const uint64_t inodes = OffsetArgument(info, 4, "inodeLimit");
  const bool succeeds = info.Length() > 6;
  UniqueFd tables(succeeds ? FdArgument(info, 5, "tables") : -1);
  UniqueFd root = OpenRoot(path);
  if (!root) throw ErrnoError(info.Env(), errno, "open", path);
  UniqueFd proc_fds(DuplicateOwn(ProcFds()));
  if (!proc_fds) throw ErrnoError(info.Env(), errno, "open", "/proc/self/fd");
  int result = succeeds ? MayTakeOver(tables.get(), LimitsFor(inodes)) : 0;
  if (result < 0) throw ErrnoError(info.Env(), -result, "createSharedDirectory");
  auto directory =
      std::make_unique<SharedDirectory>(std::move(root), std::move(proc_fds), timeouts, handle_use,
                                        LimitsFor(inodes), std::move(tables));
  if (succeeds) {
    result = TakeDescriptorsOf(*directory, FdArgument(info, 6, "keeper"));
    if (result < 0) throw ErrnoError(info.Env(), -result, "recvmsg");
  }
  result = directory->Initialize();
  if (result < 0) throw ErrnoError(info.Env(), -result, "open_by_handle_at", path);
  if (StateRecord* const state = ServerState::Get(); state != nullptr) {
    if (!succeeds) {
      // Stays open, for a successor.
      const int kept = fcntl(directory->tables(), F_DUPFD_CLOEXEC, kFirstKept);
      if (kept < 0) throw ErrnoError(info.Env(), errno, "fcntl");
      state->tables.store(kept);
    }
    directory->policy().set_record([state](const ServicePolicy& policy, bool begun) {
      SessionRecord& record = state->session.Next();
      record.begun = begun;
      record.policy = policy;
      std::copy_n(SessionWords(), SessionRecord::kWords, record.words);
      state->session.Publish();
    });
  }
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

// begin(directory, submounts, exports, window)
void Begin(const Info& info) {
  DirectoryArgument(info).Begin(BooleanArgument(info, 1, "submounts"),
                                BooleanArgument(info, 2, "exports"),
                                BooleanArgument(info, 3, "window"));
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

// A Uint32Array of quadruples, as native/file-system.ts has them.
IdRanges IdRangesArgument(const Info& info, size_t index) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
    throw Napi::TypeError::New(info.Env(), "ranges must be a Uint32Array");
  const auto numbers = value.As<Napi::Uint32Array>();
  std::vector<IdRange> ranges;
  for (size_t i = 0; i + 3 < numbers.ElementLength(); i += 4)
    ranges.push_back({numbers[i], numbers[i + 1], numbers[i + 2],
                      static_cast<IdRange::Kind>(std::min<uint32_t>(numbers[i + 3], 2))});
  return IdRanges(std::move(ranges));
}

// setIds(directory, uidsToGuest, gidsToGuest, uidsToHost, gidsToHost)
void SetIds(const Info& info) {
  SharedDirectory& directory = DirectoryArgument(info);
  directory.set_ids_to_guest(IdRangesArgument(info, 1), IdRangesArgument(info, 2));
  directory.set_ids_to_host(IdRangesArgument(info, 3), IdRangesArgument(info, 4));
}

// addLabelName(directory, guest, host)
void AddLabelName(const Info& info) {
  DirectoryArgument(info).AddLabelName(StringArgument(info, 1, "guest"),
                                       StringArgument(info, 2, "host"));
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
  policy.extensions = BooleanProperty(agreed, "extensions");
  policy.labels = BooleanProperty(agreed, "labels");
  policy.applies_umask = BooleanProperty(agreed, "appliesUmask");
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
  add("addLabelName", AddLabelName);
  add("setCapabilityName", SetCapabilityName);
  add("publishPolicy", PublishPolicy);
  add("takeRefusedOwner", TakeRefusedOwnerJs);
  exports.Set("fileSystem", file_system);
}

}  // namespace viewfsd
