// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/servers.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "sandbox/launcher/capabilities.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/filters.h"
#include "sandbox/launcher/notify.h"
#include "sandbox/launcher/starter.h"
#include "sandbox/launcher/succession.h"
#include "sandbox/launcher/supervisor.h"

namespace viewfsd {
namespace {

constexpr const char* kView = "/dev/memory-view";

// What this process needs of capabilities once servers are another's to start.
uint64_t KeptForWaiting(const Plan& plan) {
  uint64_t kept = 0;
  if (!plan.cleanup.empty() && plan.kind != SandboxKind::kNamespace)
    kept |= uint64_t{1} << CAP_DAC_OVERRIDE;
  // Behind their doors servers are root there, which is another user than this process.
  if (!plan.uid_map.empty()) kept |= uint64_t{1} << CAP_KILL;
  return kept;
}

class FirstProcess : public Processes {
 public:
  FirstProcess(const Plan& plan, bool user_namespace, const std::vector<int>& programs,
               UniqueFd launcher)
      : signals_(Signals()),
        state_(memfd_create("viewfsd-state", MFD_CLOEXEC)),
        // Where it can't be had, a server says why.
        view_(plan.view ? open(kView, O_RDWR | O_CLOEXEC) : -1),
        starter_(plan, {user_namespace, state_.get(), view_.get()}),
        launcher_(std::move(launcher)),
        succession_(this, plan.kind != SandboxKind::kNone) {
    if (!state_) FailErrno("memfd_create");
    // Keepers outlive the server that has made them.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) FailErrno("PR_SET_CHILD_SUBREAPER");
    for (const int fd : programs) close(fd);
    BoundCapabilities(KeptForWaiting(plan));
    if (plan.filtered) FilterWaiting();
  }

  [[noreturn]] void Run() {
    succession_.Start();
    for (;;) {
      pollfd events[3] = {{signals_.get(), POLLIN, 0},
                          {succession_.prepared(), POLLIN, 0},
                          {succession_.keeper(), POLLIN, 0}};
      const bool late = succession_.late();
      const int ready = poll(events, 3, late ? 1000 : -1);
      if (ready < 0 && errno != EINTR) FailErrno("poll");
      // What a server has said before it ended comes first.
      if (events[1].revents != 0) succession_.HearPrepared();
      if (events[2].revents != 0) succession_.HearServer();
      if (events[0].revents != 0) HandleSignals();
      if (late && ready == 0) succession_.Start();
    }
  }

  pid_t StartServer(const ServerStart& start) override { return starter_.StartServer(start); }
  pid_t StartProbe() override { return starter_.StartProbe(); }
  void Kill(pid_t process, int signal) override { kill(process, signal); }

  time_t Now() override {
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
  }

  void Ready() override {
    if (launcher_) SendByte(launcher_.get(), kCloseDoors);
    launcher_.reset();
    Notify("READY=1");
  }

  void Refused() override {
    fprintf(stderr, "viewfsd: the program that is installed can not go on: nothing changes\n");
  }

  void End(int status) override {
    Notify("STOPPING=1");
    RemoveFiles();
    EndLike(status);
  }

 private:
  static UniqueFd Signals() {
    const sigset_t set = HandledSignals();
    UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals) FailErrno("signalfd");
    return signals;
  }

  void HandleSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD) {
        int status = 0;
        for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;)
          succession_.Ended(ended, status);
      } else if (signal == SIGHUP) {
        succession_.Probe();
      } else {
        if (signal != SIGUSR1) Notify("STOPPING=1\nSTATUS=Ending by a signal");
        succession_.PassOn(signal);
      }
    }
  }

  UniqueFd signals_;
  UniqueFd state_;
  UniqueFd view_;
  Starter starter_;
  UniqueFd launcher_;
  Succession succession_;
};

}  // namespace

void RunServers(const Plan& plan, bool user_namespace, const std::vector<int>& programs,
                UniqueFd launcher) {
  FirstProcess first(plan, user_namespace, programs, std::move(launcher));
  first.Run();
}

}  // namespace viewfsd
