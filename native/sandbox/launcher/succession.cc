// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/succession.h"

#include <poll.h>
#include <sys/wait.h>

#include <csignal>
#include <utility>

#include "sandbox/launcher/descriptors.h"

namespace viewfsd {
namespace {

// So many crashes within a minute: from then on servers answer all requests with EIO, and the next
// one is started a second later.
constexpr size_t kManyCrashes = 10;
constexpr time_t kMinute = 60;

bool HasMessage(int fd) {
  pollfd event = {fd, POLLIN, 0};
  return poll(&event, 1, 0) == 1 && (event.revents & POLLIN) != 0;
}

}  // namespace

void Succession::Start() {
  ControlPair keeper = MakeControlPair();
  ControlPair prepared = MakeControlPair();
  if (past_.servers == 0) begin_ = processes_->Now();
  past_.age = static_cast<int32_t>(processes_->Now() - begin_);
  past_.crashes = static_cast<int32_t>(crashes_.size());
  past_.refuses = crashes_.size() >= kManyCrashes;
  server_ = processes_->StartServer({.past = past_,
                                     .keeper = keeper.program.get(),
                                     .prepared = prepared.program.get(),
                                     .predecessor = predecessor_.get(),
                                     .share = share_.get()});
  past_.servers++;
  keeper_ = std::move(keeper.launcher);
  prepared_ = std::move(prepared.launcher);
  // Without a sandbox there are none; its sockets listen already.
  if (!sandboxed_) DoorsClosed();
}

void Succession::HearPrepared() {
  UniqueFd fd;
  const int said = ReceiveByte(prepared_.get(), &fd);
  if (said == kPrepared) {
    if (!share_) {
      share_ = std::move(fd);
    } else if (!mounts_) {
      mounts_ = std::move(fd);
    }
  } else if (said == kCloseDoors) {
    DoorsClosed();
  } else {
    prepared_.reset();
  }
}

void Succession::DoorsClosed() {
  if (!told_) processes_->Ready();
  told_ = true;
}

void Succession::HearServer() {
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

void Succession::PassOn(int signal) {
  if (signal != SIGUSR1) ending_ = true;
  if (server_ > 0) processes_->Kill(server_, signal);
  if (server_ < 0 && ending_) processes_->End(signal);
}

void Succession::Probe() {
  if (probe_ > 0 || server_ < 0 || !serves_) return;
  probe_ = processes_->StartProbe();
}

void Succession::Ended(pid_t child, int status) {
  if (child == server_) {
    ServerEnded(status);
  } else if (child == probe_) {
    ProbeEnded(status);
  }
}

void Succession::ProbeEnded(int status) {
  probe_ = -1;
  if (status != 0) {
    processes_->Refused();
  } else if (server_ > 0) {
    giving_way_ = true;
    processes_->Kill(server_, SIGHUP);
  }
}

void Succession::ServerEnded(int status) {
  server_ = -1;
  // It may have said so just before.
  if (keeper_ && !serves_ && HasMessage(keeper_.get())) HearServer();
  if (WIFEXITED(status) || ending_ || !served_) {
    processes_->End(status);
    return;
  }
  past_.signal = WTERMSIG(status);
  past_.upgrade = giving_way_ && past_.signal == SIGKILL;
  giving_way_ = false;
  const time_t now = processes_->Now();
  std::erase_if(crashes_, [now](time_t then) { return now - then >= kMinute; });
  // Whoever sends SIGKILL is somebody else: the user, or the kernel that needs memory.
  if (past_.signal != SIGKILL) crashes_.push_back(now);
  // One that ended before it had all of its predecessor's has nothing that this has not.
  if (serves_ || !predecessor_) predecessor_ = std::move(keeper_);
  keeper_.reset();
  prepared_.reset();
  serves_ = false;
  if (crashes_.size() < kManyCrashes) Start();
}

}  // namespace viewfsd
