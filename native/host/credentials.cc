// SPDX-License-Identifier: Apache-2.0
#include "host/credentials.h"

#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>

#include "host/proc_fds.h"

namespace viewfsd {

namespace {

constexpr uint32_t kNoChange = UINT32_MAX;

int SetEffectiveUid(uint32_t uid) {
  return syscall(SYS_setresuid, kNoChange, uid, kNoChange) < 0 ? -errno : 0;
}

int SetEffectiveGid(uint32_t gid) {
  return syscall(SYS_setresgid, kNoChange, gid, kNoChange) < 0 ? -errno : 0;
}

int SetGroups(size_t count, const gid_t* groups) {
  return syscall(SYS_setgroups, count, groups) < 0 ? -errno : 0;
}

int GetCapabilities(__user_cap_data_struct* data) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

int SetCapabilities(const __user_cap_data_struct* data) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

// The daemon's own effective ids and groups; the same in every thread, and constant.
struct OwnIds {
  uint32_t uid = static_cast<uint32_t>(syscall(SYS_geteuid));
  uint32_t gid = static_cast<uint32_t>(syscall(SYS_getegid));
  std::vector<gid_t> groups;
  // A user namespace may forbid it, or have no ids for the groups, so that they would not come
  // back. Then the callers have the daemon's own; they decide no more than what becomes of a setgid
  // bit.
  bool groups_can_change = false;

  OwnIds() {
    const int count = getgroups(0, nullptr);
    if (count < 0) return;
    groups.resize(static_cast<size_t>(count));
    groups_can_change =
        getgroups(count, groups.data()) == count && SetGroups(groups.size(), groups.data()) == 0;
  }
};

const OwnIds& Own() {
  static const OwnIds own;
  return own;
}

thread_local bool attached = false;

// What the calling thread may do as a caller of the guest's: nothing but CAP_DAC_OVERRIDE, where it
// is permitted. Asked for once, since a thread that serves requests never changes what is
// permitted: it starts behind the sandbox's doors.
struct CallerCapabilities {
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  int result = GetCapabilities(data);
  CallerCapabilities() {
    if (result < 0) return;
    for (__user_cap_data_struct& word : data) word.effective = 0;
    auto& word = data[CAP_TO_INDEX(CAP_DAC_OVERRIDE)];
    word.effective = CAP_TO_MASK(CAP_DAC_OVERRIDE) & word.permitted;
  }
};

// Puts CAP_DAC_OVERRIDE back, which a change of the effective user id may have taken away.
int KeepDacOverride(uint32_t own_uid) {
  if (own_uid == 0) {
    // The change from root has cleared the effective set; going back makes it whole again.
    static thread_local const CallerCapabilities capabilities;
    return capabilities.result < 0 ? capabilities.result : SetCapabilities(capabilities.data);
  }
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (const int result = GetCapabilities(data); result < 0) return result;
  auto& word = data[CAP_TO_INDEX(CAP_DAC_OVERRIDE)];
  const uint32_t wanted = word.effective | (CAP_TO_MASK(CAP_DAC_OVERRIDE) & word.permitted);
  if (wanted == word.effective) return 0;
  word.effective = wanted;
  return SetCapabilities(data);
}

std::mutex refused_mutex;
std::optional<RefusedOwner> refused;
bool refused_was_taken = false;

}  // namespace

int AttachThread() {
  if (attached) return 0;
  Own();
  const int proc_fds = ProcFds();
  if (proc_fds < 0) return proc_fds;
  if (unshare(CLONE_FS) < 0) return -errno;
  if (fchdir(proc_fds) < 0) return -errno;
  umask(0);
  attached = true;
  return 0;
}

bool ThreadIsAttached() { return attached; }

ScopedCaller::ScopedCaller(const Caller& caller) {
  result_ = Assume(caller);
  if (result_ < 0) {
    RestoreIds();
    return;
  }
  // Without a context of its own the thread would change the umask of all others.
  if (caller.umask != 0 && attached) {
    umask(caller.umask & 0777);
    umask_changed_ = true;
  }
}

int ScopedCaller::Assume(const Caller& caller) {
  // -1 would mean "leave as it is", that is, root.
  if (caller.uid == kNoChange || caller.gid == kNoChange) return -EINVAL;
  const OwnIds& own = Own();
  // The guest's root is the daemon, also where that is not root.
  const uint32_t uid = caller.uid == 0 ? own.uid : caller.uid;
  const uint32_t gid = caller.gid == 0 && own.uid != 0 ? own.gid : caller.gid;
  if (uid == own.uid && gid == own.gid) return 0;

  if (own.groups_can_change && caller.groups != own.groups) {
    if (SetGroups(caller.groups.size(), caller.groups.data()) < 0) return RefuseOwner(uid, gid);
    groups_changed_ = true;
  }
  if (gid != own.gid) {
    const int result = SetEffectiveGid(gid);
    gid_changed_ = result == 0;
    // EINVAL: a user namespace need not have a group 0.
    if (result < 0 && !(gid == 0 && result == -EINVAL)) return RefuseOwner(uid, gid);
  }
  if (uid != own.uid) {
    if (SetEffectiveUid(uid) < 0) return RefuseOwner(uid, gid);
    uid_changed_ = true;
    return KeepDacOverride(own.uid);
  }
  return 0;
}

void ScopedCaller::RestoreIds() {
  const OwnIds& own = Own();
  // Going back to uid 0 makes the permitted capabilities effective again, so it comes first. A
  // thread that can't go back would serve others with a stranger's rights: rather no daemon at all.
  if (uid_changed_ && SetEffectiveUid(own.uid) < 0) abort();
  if (gid_changed_ && SetEffectiveGid(own.gid) < 0) abort();
  if (groups_changed_ && SetGroups(own.groups.size(), own.groups.data()) < 0) abort();
  uid_changed_ = gid_changed_ = groups_changed_ = false;
}

ScopedCaller::~ScopedCaller() {
  const int saved_errno = errno;
  if (umask_changed_) umask(0);
  RestoreIds();
  errno = saved_errno;
}

int RefuseOwner(uint32_t uid, uint32_t gid) {
  const std::lock_guard lock(refused_mutex);
  if (!refused) refused = {uid, gid};
  return -EPERM;
}

bool HasRefusedOwner() {
  const std::lock_guard lock(refused_mutex);
  return refused && !refused_was_taken;
}

std::optional<RefusedOwner> TakeRefusedOwner() {
  const std::lock_guard lock(refused_mutex);
  if (!refused || refused_was_taken) return std::nullopt;
  refused_was_taken = true;
  return refused;
}

ScopedWithoutFsetid::ScopedWithoutFsetid() {
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (GetCapabilities(data) < 0) return;
  auto& word = data[CAP_TO_INDEX(CAP_FSETID)];
  if ((word.effective & CAP_TO_MASK(CAP_FSETID)) == 0) return;
  for (size_t index = 0; index < _LINUX_CAPABILITY_U32S_3; ++index) saved_[index] = data[index];
  word.effective &= ~CAP_TO_MASK(CAP_FSETID);
  changed_ = SetCapabilities(data) == 0;
}

ScopedWithoutFsetid::~ScopedWithoutFsetid() {
  const int saved_errno = errno;
  if (changed_ && SetCapabilities(saved_) < 0) abort();
  errno = saved_errno;
}

}  // namespace viewfsd
