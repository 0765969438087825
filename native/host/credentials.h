// SPDX-License-Identifier: Apache-2.0
// Credentials of one thread, changed for the length of one request and restored afterwards. glibc's
// setresuid() and friends change every thread of the process; these are the bare system calls.
#ifndef VIEWFSD_CREDENTIALS_H_
#define VIEWFSD_CREDENTIALS_H_

#include <linux/capability.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace viewfsd {

// On whose behalf the guest makes an inode.
struct Caller {
  uint32_t uid;
  uint32_t gid;
  // Supplementary groups.
  std::vector<gid_t> groups;
  // What the host applies to the mode; 0 where the guest has done so itself.
  uint32_t umask;
};

// Gives the calling thread a file system context (umask, working directory) of its own, sets its
// umask to 0, so that a mode is what the guest says, and makes /proc/self/fd its working directory.
// Call once per request thread, before the first request. Returns 0 or -errno.
int AttachThread();
bool ThreadIsAttached();

// Makes the calling thread act as the guest's caller in everything that decides the owner, group
// and mode of a new inode. Access is not checked again (CAP_DAC_OVERRIDE stays): the guest has done
// it, with groups that are not known here. What a daemon that is not root makes for the guest's
// root is its own; for anybody else it can make what its user namespace has the ids for.
class ScopedCaller {
 public:
  explicit ScopedCaller(const Caller& caller);
  ~ScopedCaller();
  ScopedCaller(const ScopedCaller&) = delete;
  ScopedCaller& operator=(const ScopedCaller&) = delete;

  // 0, or -errno where the change failed; then nothing has been changed. EPERM: the process may not
  // take these ids.
  int result() const { return result_; }

 private:
  int Assume(const Caller& caller);
  void RestoreIds();

  bool groups_changed_ = false;
  bool gid_changed_ = false;
  bool uid_changed_ = false;
  bool umask_changed_ = false;
  int result_ = 0;
};

// Ids that files were to get, and that are none of this process's to give.
struct RefusedOwner {
  uint32_t uid;
  uint32_t gid;
};

// Keeps the first of them for the log. Returns -EPERM.
int RefuseOwner(uint32_t uid, uint32_t gid);

// Whether TakeRefusedOwner has one.
bool HasRefusedOwner();

// The first that was refused, once in the life of the process.
std::optional<RefusedOwner> TakeRefusedOwner();

// Takes CAP_FSETID from the calling thread, so that writing and truncating clear setuid and setgid
// as they do for an ordinary user.
class ScopedWithoutFsetid {
 public:
  ScopedWithoutFsetid();
  ~ScopedWithoutFsetid();
  ScopedWithoutFsetid(const ScopedWithoutFsetid&) = delete;
  ScopedWithoutFsetid& operator=(const ScopedWithoutFsetid&) = delete;

 private:
  bool changed_ = false;
  __user_cap_data_struct saved_[_LINUX_CAPABILITY_U32S_3];
};

}  // namespace viewfsd

#endif  // VIEWFSD_CREDENTIALS_H_
