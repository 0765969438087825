// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/root_directory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/launcher/failure.h"

// sys/mount.h and linux/mount.h can't be had together before glibc 2.37.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);
extern "C" int umount2(const char*, int);

namespace viewfsd {
namespace {

constexpr int kDetach = 2;  // MNT_DETACH

UniqueFd CloneTree(int directory, const char* path, unsigned flags) {
  return UniqueFd(static_cast<int>(
      syscall(SYS_open_tree, directory, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags)));
}

}  // namespace

UniqueFd OpenDirectory(const std::string& path) {
  UniqueFd directory(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) FailErrno(path);
  return directory;
}

UniqueFd MountSharedDirectory(const std::string& path, bool read_only) {
  constexpr unsigned long kRecursiveSlave = MS_SLAVE | MS_REC;
  if (mount(nullptr, "/", nullptr, kRecursiveSlave, nullptr) != 0)
    FailUnavailable("mount --make-rslave /");
  const UniqueFd directory = OpenDirectory(path);
  UniqueFd tree = CloneTree(directory.get(), "", AT_EMPTY_PATH | AT_RECURSIVE);
  if (!tree) FailUnavailable("open_tree " + path);
  // The program opens no device and executes nothing; a device node that a guest makes there must
  // not become a door. (ENOSYS: before Linux 5.12.)
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  if (read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
              sizeof(attributes)) != 0 &&
      errno != ENOSYS)
    FailUnavailable("mount_setattr " + path);
  // Where it hides nothing from whoever has the old root: at the shared directory's own place Node
  // could not be executed if that is where it lies.
  const UniqueFd top = OpenDirectory("/");
  if (syscall(SYS_move_mount, tree.get(), "", top.get(), "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    FailUnavailable("move_mount " + path);
  return tree;
}

UniqueFd OpenProcFds(bool may_mount) {
  UniqueFd directory;
  if (may_mount) directory = CloneTree(AT_FDCWD, "/proc/self/fd", 0);
  if (!directory) directory.reset(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statfs status;
  if (!directory || fstatfs(directory.get(), &status) != 0) FailErrno("/proc/self/fd");
  if (status.f_type != PROC_SUPER_MAGIC) Fail("/proc is not a proc file system");
  return directory;
}

int ChangeRoot(int root) {
  if (fchdir(root) != 0 || chroot(".") != 0) return errno;
  return 0;
}

int PivotRoot(int old_root, int root) {
  // The namespace's own root may be another one, where all of this runs in a chroot.
  if (const int error = ChangeRoot(old_root); error != 0) return error;
  if (fchdir(root) != 0) return errno;
  // Puts the old root on top of the new one, at the same place; then takes it off.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return errno;
  if (umount2(".", kDetach) != 0) return errno;
  return 0;
}

}  // namespace viewfsd
