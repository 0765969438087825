// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/starter.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/launcher/capabilities.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/execute.h"
#include "sandbox/launcher/failure.h"
#include "sandbox/launcher/filters.h"
#include "sandbox/launcher/root_directory.h"
#include "util/fd_message.h"

namespace viewfsd {
namespace {

// One message; those descriptors of a ServerStart that there are come along, in its order.
struct Request {
  bool probe;
  bool predecessor;
  bool share;
  Past past;
};

// In the process that starts servers.
class Start {
 public:
  Start(const Plan& plan, const Lasting& lasting) : plan_(plan), lasting_(lasting) {}

  [[noreturn]] void Serve(int channel) {
    for (;;) {
      Request request;
      std::vector<UniqueFd> fds;
      const ssize_t received = ReceiveMessage(channel, {&request, sizeof(request)}, &fds);
      if (received != sizeof(request)) _exit(0);
      // A child of whoever asks.
      const bool namespaces = !request.probe && plan_.kind == SandboxKind::kNamespace;
      pid_t child = Clone(CLONE_PARENT | (namespaces ? CLONE_NEWNS : 0));
      if (child == 0) {
        close(channel);
        DieWithParent();
        if (request.probe) BecomeProbe();
        BecomeServer(request, std::move(fds));
      }
      if (child < 0) child = -errno;
      iovec answer[] = {{&child, sizeof(child)}};
      if (SendMessage(channel, answer, {}) < 0) _exit(0);
    }
  }

 private:
  [[noreturn]] void BecomeProbe() {
    Inherit(lasting_.state);
    if (setenv("VIEWFSD_PROBE", std::to_string(lasting_.state).c_str(), 1) != 0)
      FailErrno("setenv");
    Execute(plan_, {});
  }

  [[noreturn]] void BecomeServer(const Request& request, std::vector<UniqueFd> fds) {
    const size_t count = size_t{2} + request.predecessor + request.share;
    if (fds.size() != count) Fail("descriptors for a server");
    const int keeper = fds[0].get();
    const int prepared = fds[1].get();
    const int predecessor = request.predecessor ? fds[2].get() : -1;
    int share = request.share ? fds.back().get() : -1;

    UniqueFd root;
    UniqueFd proc_fds;
    ControlPair doors = MakeControlPair();
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
    if (share < 0) share = root.get();
    for (const int fd : {lasting_.state, keeper, predecessor, share, lasting_.view}) {
      if (fd >= 0) Inherit(fd);
      numbers += std::to_string(fd) + ",";
    }
    const Past& past = request.past;
    for (const int number : {past.signal, past.crashes, static_cast<int>(past.refuses),
                             static_cast<int>(past.upgrade), past.servers, past.age})
      numbers += std::to_string(number) + ",";
    numbers.pop_back();
    if (setenv("VIEWFSD_SERVERS", numbers.c_str(), 1) != 0) FailErrno("setenv");
    Execute(plan_,
            {root.get(), proc_fds.get(), root ? doors.program.get() : -1, lasting_.user_namespace});
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

  const Plan& plan_;
  const Lasting lasting_;
};

// Of the process that starts servers: what these keep; what their mounts and doors take; and what
// bounds them.
uint64_t KeptForStarting(const Plan& plan) {
  uint64_t kept = plan.capabilities | uint64_t{1} << CAP_SETPCAP;
  if (plan.kind != SandboxKind::kNone) kept |= uint64_t{1} << CAP_SYS_CHROOT;
  if (plan.kind == SandboxKind::kNamespace) kept |= uint64_t{1} << CAP_SYS_ADMIN;
  return kept;
}

}  // namespace

Starter::Starter(const Plan& plan, const Lasting& lasting) {
  ControlPair channel = MakeControlPair();
  const pid_t child = Clone(0);
  if (child < 0) FailErrno("clone");
  if (child == 0) {
    FilesToRemove().clear();
    channel.launcher.reset();
    DieWithParent();
    BoundCapabilities(KeptForStarting(plan));
    if (plan.filtered) FilterStarting();
    Start(plan, lasting).Serve(channel.program.get());
  }
  channel_ = std::move(channel.launcher);
}

pid_t Starter::StartServer(const ServerStart& start) {
  Request request = {};
  request.past = start.past;
  request.predecessor = start.predecessor >= 0;
  request.share = start.share >= 0;
  std::vector<int> fds = {start.keeper, start.prepared};
  if (request.predecessor) fds.push_back(start.predecessor);
  if (request.share) fds.push_back(start.share);
  return Ask(&request, sizeof(request), fds);
}

pid_t Starter::StartProbe() {
  Request request = {};
  request.probe = true;
  return Ask(&request, sizeof(request), {});
}

pid_t Starter::Ask(void* request, size_t size, std::span<const int> fds) {
  iovec parts[] = {{request, size}};
  if (const ssize_t sent = SendMessage(channel_.get(), parts, fds); sent < 0)
    FailErrno("starting a server", static_cast<int>(-sent));
  pid_t child = -ECONNRESET;
  std::vector<UniqueFd> none;
  const ssize_t received = ReceiveMessage(channel_.get(), {&child, sizeof(child)}, &none);
  if (received >= 0 && received != sizeof(child)) child = -ECONNRESET;
  if (received < 0) child = static_cast<pid_t>(received);
  if (child < 0) FailErrno("starting a server", -child);
  return child;
}

}  // namespace viewfsd
