// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/supervisor.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/notify.h"

namespace viewfsd {
namespace {

// What the program handles (server/main.ts). Other signals end this process, and the program with
// it: as the first process of a pid namespace it would be immune.
constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1};

}  // namespace

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kForwarded) sigaddset(&set, signal);
  sigaddset(&set, SIGCHLD);
  return set;
}

void EndLike(int status) {
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  // The core, if any, is the child's.
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const int signal = WTERMSIG(status);
  if (signal == SIGSYS)
    fprintf(
        stderr,
        "viewfsd: sandbox: a system call that is not on the list ended the daemon; the kernel's "
        "log has its number; --seccomp=log lets it go on\n");
  ::signal(signal, SIG_DFL);
  UnblockSignals();
  kill(getpid(), signal);
  _exit(128 + signal);
}

namespace {

class Supervisor {
 public:
  explicit Supervisor(Supervision supervision) : task_(std::move(supervision)) {
    const sigset_t set = HandledSignals();
    signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) FailErrno("signalfd");
  }

  [[noreturn]] void Run() {
    for (;;) {
      pollfd events[2] = {{signals_.get(), POLLIN, 0}, {task_.control.get(), POLLIN, 0}};
      if (poll(events, task_.control ? 2 : 1, -1) < 0 && errno != EINTR) FailErrno("poll");
      if (events[0].revents != 0) HandleSignals();
      if (task_.control && events[1].revents != 0) HandleRequest();
    }
  }

 private:
  void HandleSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD) {
        int status = 0;
        if (waitpid(task_.child, &status, WNOHANG) == task_.child) End(status);
      } else if (!closed_) {
        // Before the program is ready it has no handlers, and the first process of a pid namespace
        // is immune to signals without one: end it as the signal would have.
        kill(task_.child, SIGKILL);
        int status = 0;
        while (waitpid(task_.child, &status, 0) < 0 && errno == EINTR) {
        }
        End(signal);
      } else {
        if (signal != SIGUSR1 && (signal != SIGHUP || !task_.upgrades))
          Notify("STOPPING=1\nSTATUS=Ending by a signal");
        kill(task_.child, signal);
      }
    }
  }

  void HandleRequest() {
    const int request = ReceiveByte(task_.control.get(), nullptr);
    if (request == kCloseDoors && !closed_) {
      const int error = task_.close_doors();
      closed_ = error == 0;
      SendByte(task_.control.get(), static_cast<char>(error));
      if (closed_) {
        task_.doors_closed();
        Notify("READY=1\nSTATUS=Behind the sandbox's doors");
      }
    }
    // Nothing else is ever wanted of this channel.
    task_.control.reset();
  }

  // `status` as from waitpid, or a signal's number, which is the same.
  [[noreturn]] void End(int status) {
    Notify("STOPPING=1");
    RemoveFiles();
    EndLike(status);
  }

  Supervision task_;
  UniqueFd signals_;
  // The program runs behind closed doors.
  bool closed_ = false;
};

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

void UnblockSignals() {
  const sigset_t set = HandledSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void Supervise(Supervision supervision) {
  Supervisor supervisor(std::move(supervision));
  supervisor.Run();
}

}  // namespace viewfsd
