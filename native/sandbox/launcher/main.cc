// SPDX-License-Identifier: Apache-2.0
// viewfsd-launcher: starts the daemon inside of its sandbox.
//
// Node has several threads before its first line of JavaScript runs. Namespaces and capabilities
// belong to threads, so they are settled here, before Node exists: its threads all inherit them.
// What has to come later, because Node first loads its modules and opens its devices, is the change
// of the root directory; this process does it from outside when the daemon asks
// (server/sandbox/doors.ts).
//
//   namespace   launcher ── waits, passes signals on, and changes the root on request
//                  └ clone(NEWNS|NEWPID|NEWNET[|NEWUSER]) ── mounts, bounds, execs Node
//   chroot      the same without namespaces; a third process that shares its root directory with
//               Node calls chroot(2)
//   none        bounds the capabilities and execs Node in its own place
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/launcher/capabilities.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/execute.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/filters.h"
#include "sandbox/launcher/notify.h"
#include "sandbox/launcher/plan.h"
#include "sandbox/launcher/root_directory.h"
#include "sandbox/launcher/servers.h"
#include "sandbox/launcher/supervisor.h"
#include "sandbox/launcher/user_namespace.h"

namespace viewfsd {
namespace {

// The descriptors that were open when this process began, for the program, but for standard input,
// output and error. The launcher itself closes them: above all the listening socket must not
// outlive the program.
std::vector<int> InheritedFds() {
  std::vector<int> fds;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) FailErrno("/proc/self/fd");
  while (const dirent* entry = readdir(directory)) {
    const int fd = atoi(entry->d_name);
    if (fd > STDERR_FILENO && fd != dirfd(directory)) fds.push_back(fd);
  }
  closedir(directory);
  return fds;
}

void CloseAll(const std::vector<int>& fds) {
  for (const int fd : fds) close(fd);
}

UniqueFd OpenNamespace(pid_t process, const char* name) {
  const std::string path = "/proc/" + std::to_string(process) + "/ns/" + name;
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) FailErrno(path);
  return fd;
}

// Waits for the child's word that it has prepared its part.
UniqueFd AwaitPrepared(int control, pid_t child) {
  UniqueFd root;
  if (ReceiveByte(control, &root) != kPrepared || !root) {
    // It has said what is wrong.
    const int status = WaitFor(child);
    RemoveFiles();
    _exit(status == 0 ? 1 : status);
  }
  return root;
}

// What this process does from here on, it can do with less.
void KeepWaiting(const Plan& plan) {
  // For removing the socket from a directory of whomever.
  BoundCapabilities(uint64_t{1} << CAP_DAC_OVERRIDE);
  if (plan.filtered) FilterWaiting();
}

[[noreturn]] void RunInNamespaces(const Plan& plan) {
  const bool rootless = geteuid() != 0;
  const std::vector<int> inherited = InheritedFds();
  // Not one of them.
  OpenNotifySocket();
  ControlPair control = MakeControlPair();
  BlockSignals();
  const pid_t child =
      Clone(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | (rootless ? CLONE_NEWUSER : 0));
  if (child < 0) {
    // ENOSPC is too many of them.
    const std::string hint = errno == ENOSPC ? " (limits: /proc/sys/user/max_*_namespaces)" : "";
    FailUnavailable(std::string(rootless ? "new user, " : "new ") +
                    "mount, pid and network namespaces" + hint);
  }
  if (child == 0) {
    FilesToRemove().clear();
    CloseNotifySocket();
    control.launcher.reset();
    DieWithParent();
    if (ReceiveByte(control.program.get(), nullptr) != kGo) _exit(1);
    if (plan.restarts) RunServers(plan, rootless, inherited, std::move(control.program));
    const UniqueFd root = MountSharedDirectory(plan.shared_directory, plan.read_only);
    const UniqueFd proc_fds = OpenProcFds(true);
    SendByte(control.program.get(), kPrepared, root.get());
    SendByte(control.program.get(), kPrepared, OpenDirectory("/").get());
    Execute(plan, {root.get(), proc_fds.get(), control.program.get(), rootless});
  }
  CloseAll(inherited);
  control.program.reset();
  if (rootless) MapIds(child, plan);
  UniqueFd user = rootless ? OpenNamespace(child, "user") : UniqueFd();
  UniqueFd mounts = OpenNamespace(child, "mnt");
  SendByte(control.launcher.get(), kGo);
  if (plan.restarts) {
    // The child, which is process 1 there, sees to the doors of each server by itself.
    Supervision supervision;
    supervision.child = child;
    supervision.upgrades = true;
    supervision.close_doors = [] { return 0; };
    supervision.doors_closed = [&] {
      if (chdir("/") != 0) FailErrno("chdir");
      user.reset();
      mounts.reset();
      KeepWaiting(plan);
    };
    supervision.control = std::move(control.launcher);
    Supervise(std::move(supervision));
  }
  UniqueFd root = AwaitPrepared(control.launcher.get(), child);
  UniqueFd old_root = AwaitPrepared(control.launcher.get(), child);

  Supervision supervision;
  supervision.child = child;
  supervision.close_doors = [&] {
    // A process of its own: this one needs its root directory for the cleanup.
    const pid_t helper = fork();
    if (helper == 0) {
      if (user && setns(user.get(), CLONE_NEWUSER) != 0) _exit(errno);
      if (setns(mounts.get(), CLONE_NEWNS) != 0) _exit(errno);
      _exit(PivotRoot(old_root.get(), root.get()));
    }
    return helper < 0 ? errno : WaitFor(helper);
  };
  supervision.doors_closed = [&] {
    if (chdir("/") != 0) FailErrno("chdir");
    user.reset();
    mounts.reset();
    old_root.reset();
    root.reset();
    KeepWaiting(plan);
  };
  supervision.control = std::move(control.launcher);
  Supervise(std::move(supervision));
}

// Without namespaces this process itself is the servers' first one.
[[noreturn]] void RunRestarting(const Plan& plan) {
  const std::vector<int> inherited = InheritedFds();
  // Not one of them.
  OpenNotifySocket();
  BlockSignals();
  RunServers(plan, false, inherited, UniqueFd());
}

[[noreturn]] void RunInChroot(const Plan& plan) {
  if (geteuid() != 0) Fail("--sandbox=chroot needs root; use --sandbox=namespace");
  if (plan.restarts) RunRestarting(plan);
  const std::vector<int> inherited = InheritedFds();
  // Not one of them.
  OpenNotifySocket();
  ControlPair control = MakeControlPair();
  ControlPair changer_control = MakeControlPair();
  UniqueFd root = OpenDirectory(plan.shared_directory);
  BlockSignals();
  // Shares its root and working directory with the two that it makes.
  const pid_t changer = Clone(CLONE_FS);
  if (changer < 0) FailErrno("clone");
  if (changer == 0) {
    FilesToRemove().clear();
    DieWithParent();
    CloseAll(inherited);
    control.program.reset();
    control.launcher.reset();
    changer_control.launcher.reset();
    if (ReceiveByte(changer_control.program.get(), nullptr) != kCloseDoors) _exit(ECANCELED);
    _exit(ChangeRoot(root.get()));
  }
  changer_control.program.reset();
  const pid_t child = Clone(CLONE_FS);
  if (child < 0) FailErrno("clone");
  if (child == 0) {
    FilesToRemove().clear();
    control.launcher.reset();
    changer_control.launcher.reset();
    DieWithParent();
    const UniqueFd proc_fds = OpenProcFds(true);
    SendByte(control.program.get(), kPrepared, root.get());
    Execute(plan, {root.get(), proc_fds.get(), control.program.get()});
  }
  // From here on this process's root directory is its own, and stays what it is.
  if (unshare(CLONE_FS) != 0) FailErrno("unshare");
  CloseAll(inherited);
  control.program.reset();
  AwaitPrepared(control.launcher.get(), child);

  Supervision supervision;
  supervision.child = child;
  supervision.close_doors = [&] {
    SendByte(changer_control.launcher.get(), kCloseDoors);
    return WaitFor(changer);
  };
  supervision.doors_closed = [&] {
    if (chdir("/") != 0) FailErrno("chdir");
    root.reset();
    KeepWaiting(plan);
  };
  supervision.control = std::move(control.launcher);
  Supervise(std::move(supervision));
}

int Main(int argc, char** argv) {
  const Plan plan = ParsePlan(argc, argv);
  FilesToRemove() = plan.cleanup;
  switch (plan.kind) {
    case SandboxKind::kNone:
      if (plan.restarts) RunRestarting(plan);
      // The program removes them itself. Its socket listens already.
      OpenNotifySocket();
      Notify("READY=1");
      Execute(plan, {});
    case SandboxKind::kChroot:
      RunInChroot(plan);
    case SandboxKind::kNamespace:
      RunInNamespaces(plan);
  }
  return 1;
}

}  // namespace
}  // namespace viewfsd

int main(int argc, char** argv) { return viewfsd::Main(argc, argv); }
