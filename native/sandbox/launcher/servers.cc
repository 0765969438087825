// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/servers.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/launcher/capabilities.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/execute.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/notify.h"
#include "sandbox/launcher/root_directory.h"
#include "sandbox/launcher/supervisor.h"

namespace viewfsd {
namespace {

constexpr const char* kView = "/dev/memory-view";
// So many crashes within a minute: from then on the next server is started a second later.
constexpr size_t kManyCrashes = 10;
constexpr time_t kMinute = 60;

time_t Now() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

class Servers {
 public:
  Servers(const Plan& plan, bool user_namespace, UniqueFd launcher)
      : plan_(plan), user_namespace_(user_namespace), launcher_(std::move(launcher)) {
    const sigset_t set = HandledSignals();
    signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) FailErrno("signalfd");
    state_ = UniqueFd(memfd_create("viewfsd-state", MFD_CLOEXEC));
    if (!state_) FailErrno("memfd_create");
    // Where it can't be had, a server says why.
    if (plan.view) view_ = UniqueFd(open(kView, O_RDWR | O_CLOEXEC));
    // Keepers outlive the server that has made them.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) FailErrno("PR_SET_CHILD_SUBREAPER");
    uint64_t kept = plan.capabilities | uint64_t{1} << CAP_SETPCAP;
    if (plan.kind != SandboxKind::kNone) kept |= uint64_t{1} << CAP_SYS_CHROOT;
    if (plan.kind == SandboxKind::kNamespace) kept |= uint64_t{1} << CAP_SYS_ADMIN;
    BoundCapabilities(kept);
  }

  [[noreturn]] void Run() {
    Start();
    for (;;) {
      pollfd events[3] = {
          {signals_.get(), POLLIN, 0}, {doors_.get(), POLLIN, 0}, {keeper_.get(), POLLIN, 0}};
      const bool delayed = server_ < 0;
      const int ready = poll(events, 3, delayed ? 1000 : -1);
      if (ready < 0 && errno != EINTR) FailErrno("poll");
      // What a server has said before it ended comes first.
      if (events[1].revents != 0) HandleDoors();
      if (events[2].revents != 0) HandleWord();
      if (events[0].revents != 0) HandleSignals();
      if (delayed && ready == 0) Start();
    }
  }

 private:
  void Start() {
    ControlPair keeper = MakeControlPair();
    ControlPair doors = MakeControlPair();
    ControlPair prepared = MakeControlPair();
    const pid_t server = Clone(plan_.kind == SandboxKind::kNamespace ? CLONE_NEWNS : 0);
    if (server < 0) FailErrno("clone");
    if (server == 0) {
      FilesToRemove().clear();
      DieWithParent();
      Become(keeper.program.get(), std::move(doors), prepared.program.get());
    }
    server_ = server;
    keeper_ = std::move(keeper.launcher);
    doors_ = std::move(prepared.launcher);
    prepared.program.reset();
    // Without a sandbox there are none; its sockets listen already.
    if (plan_.kind == SandboxKind::kNone) DoorsClosed();
  }

  // In the new process.
  [[noreturn]] void Become(int keeper, ControlPair doors, int prepared) {
    UniqueFd root;
    UniqueFd proc_fds;
    if (plan_.kind == SandboxKind::kNamespace) {
      root = MountSharedDirectory(plan_.shared_directory, plan_.read_only);
    } else if (plan_.kind == SandboxKind::kChroot) {
      root = OpenDirectory(plan_.shared_directory);
    }
    if (root) {
      proc_fds = OpenProcFds(true);
      SendByte(prepared, kPrepared, root.get());
      if (plan_.kind == SandboxKind::kNamespace) {
        const UniqueFd mounts(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
        if (!mounts) FailErrno("/proc/self/ns/mnt");
        SendByte(prepared, kPrepared, mounts.get());
      }
      MakeDoorkeeper(doors.launcher.get(), root.get(), prepared);
    }
    std::string numbers;
    const int share = share_ ? share_.get() : root.get();
    for (const int fd : {state_.get(), keeper, predecessor_.get(), share, view_.get()}) {
      if (fd >= 0) Inherit(fd);
      numbers += std::to_string(fd) + ",";
    }
    numbers += std::to_string(signal_) + "," + std::to_string(crashes_.size());
    if (setenv("VIEWFSD_SERVERS", numbers.c_str(), 1) != 0) FailErrno("setenv");
    Execute(plan_, {root.get(), proc_fds.get(), root ? doors.program.get() : -1, user_namespace_});
  }

  // A sibling of the server, in its mount namespace (or, for chroot, with its root directory), that
  // changes the root when it is asked to, once.
  void MakeDoorkeeper(int doors, int root, int prepared) {
    const UniqueFd old_root = OpenDirectory("/");
    const unsigned long shared = plan_.kind == SandboxKind::kChroot ? CLONE_FS : 0;
    const pid_t doorkeeper = Clone(shared | CLONE_PARENT);
    if (doorkeeper < 0) FailErrno("clone");
    if (doorkeeper > 0) return;
    DieWithParent();
    // It must not hold what the server's end is to be seen by.
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
      if (fd != doors && fd != root && fd != prepared && fd != old_root.get()) close(fd);
    if (ReceiveByte(doors, nullptr) != kCloseDoors) _exit(0);
    const int error =
        plan_.kind == SandboxKind::kNamespace ? PivotRoot(old_root.get(), root) : ChangeRoot(root);
    if (error == 0) SendByte(prepared, kCloseDoors);
    SendByte(doors, static_cast<char>(error));
    _exit(0);
  }

  void HandleDoors() {
    UniqueFd fd;
    const int said = ReceiveByte(doors_.get(), &fd);
    if (said == kPrepared) {
      if (!share_) {
        share_ = std::move(fd);
      } else if (!mounts_) {
        // Keeps what is mounted below the share where it is.
        mounts_ = std::move(fd);
      }
    } else if (said == kCloseDoors) {
      DoorsClosed();
    } else {
      doors_.reset();
    }
  }

  void DoorsClosed() {
    if (launcher_) SendByte(launcher_.get(), kCloseDoors);
    launcher_.reset();
    if (!told_) Notify("READY=1");
    told_ = true;
  }

  void HandleWord() {
    const int said = ReceiveByte(keeper_.get(), nullptr);
    if (said == kTaken) {
      predecessor_.reset();
      serves_ = served_ = true;
    } else if (said == kUpgrade) {
      Probe();
    } else {
      // The server, or its keeper, has closed it: there is nothing to be taken from that one.
      keeper_.reset();
    }
  }

  void HandleSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD) {
        Reap();
        continue;
      }
      if (signal == SIGHUP) {
        Probe();
        continue;
      }
      if (signal != SIGUSR1) {
        ending_ = true;
        Notify("STOPPING=1\nSTATUS=Ending by a signal");
      }
      if (server_ > 0) kill(server_, signal);
      if (server_ < 0 && ending_) End(signal);
    }
  }

  void Reap() {
    int status = 0;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;)
      if (ended == server_)
        ServerEnded(status);
      else if (ended == probe_)
        ProbeEnded(status);
  }

  // Asks the program that is installed now whether it can go on with this state
  // (server/main.ts), before the present server gives anything up.
  void Probe() {
    if (probe_ > 0 || server_ < 0 || !serves_) return;
    probe_ = Clone(0);
    if (probe_ != 0) return;
    DieWithParent();
    Inherit(state_.get());
    if (setenv("VIEWFSD_PROBE", std::to_string(state_.get()).c_str(), 1) != 0) FailErrno("setenv");
    Execute(plan_, {});
  }

  void ProbeEnded(int status) {
    probe_ = -1;
    if (status != 0) {
      fprintf(stderr, "viewfsd: the program that is installed can not go on: nothing changes\n");
    } else if (server_ > 0) {
      kill(server_, SIGHUP);
    }
  }

  void ServerEnded(int status) {
    server_ = -1;
    // It may have said so just before.
    if (keeper_ && !serves_ && HasMessage(keeper_.get())) HandleWord();
    if (WIFEXITED(status) || ending_ || !served_) End(status);
    signal_ = WTERMSIG(status);
    const time_t now = Now();
    std::erase_if(crashes_, [now](time_t then) { return now - then >= kMinute; });
    // Whoever sends SIGKILL is somebody else: the user, or the kernel that needs memory.
    if (signal_ != SIGKILL) crashes_.push_back(now);
    // One that ended before it had all of its predecessor's has nothing that this has not.
    if (serves_ || !predecessor_) predecessor_ = std::move(keeper_);
    keeper_.reset();
    doors_.reset();
    serves_ = false;
    if (crashes_.size() < kManyCrashes) Start();
  }

  static bool HasMessage(int fd) {
    pollfd event = {fd, POLLIN, 0};
    return poll(&event, 1, 0) == 1 && (event.revents & POLLIN) != 0;
  }

  [[noreturn]] static void End(int status) {
    Notify("STOPPING=1");
    RemoveFiles();
    EndLike(status);
  }

  const Plan& plan_;
  const bool user_namespace_;
  UniqueFd launcher_;
  UniqueFd signals_;
  UniqueFd state_;
  UniqueFd view_;
  // Of the first server.
  UniqueFd share_;
  UniqueFd mounts_;

  // -1 while there is none.
  pid_t server_ = -1;
  pid_t probe_ = -1;
  // The present server's: what it prepares, and its keeper.
  UniqueFd doors_;
  UniqueFd keeper_;
  // The keeper of the one whose descriptors have not been taken yet.
  UniqueFd predecessor_;
  // The present server has taken them, and serves.
  bool serves_ = false;
  // Any one has.
  bool served_ = false;
  // The service manager has been told that there is one.
  bool told_ = false;
  // A signal has been passed on that ends the server.
  bool ending_ = false;
  // What ended the last one.
  int signal_ = 0;
  // Within the last minute.
  std::vector<time_t> crashes_;
};

}  // namespace

void RunServers(const Plan& plan, bool user_namespace, UniqueFd launcher) {
  Servers servers(plan, user_namespace, std::move(launcher));
  servers.Run();
}

}  // namespace viewfsd
