// SPDX-License-Identifier: Apache-2.0
#include "bench/measure.h"

#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <fstream>
#include <string>

#include "bench/fail.h"

namespace viewfsd::bench {
namespace {

uint64_t Read(clockid_t clock) {
  timespec now;
  // A daemon that is gone can't be measured.
  if (clock_gettime(clock, &now) < 0) Fail("the daemon's clock");
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

class Run {
 public:
  Run(Session& session, Operation& operation, const Load& load, const std::vector<pid_t>& daemon)
      : session_(session), operation_(operation), load_(load) {
    for (const pid_t pid : daemon) {
      clockid_t clock;
      if (const int error = clock_getcpuclockid(pid, &clock); error != 0) Fail("clock", error);
      clocks_.push_back(clock);
    }
    for (size_t i = 1; i < session.rings().size(); i++)
      calls_.push_back({session.rings()[i]->call(), POLLIN, 0});
  }

  Cost For(uint64_t nanoseconds) {
    Cost sum;
    do {
      operation_.Restore(session_);
      const Cost before = Now();
      const uint64_t done = Serve(before.wall + nanoseconds);
      const Cost after = Now();
      sum.operations += done;
      sum.wall += after.wall - before.wall;
      sum.daemon += after.daemon - before.daemon;
      sum.frontend += after.frontend - before.frontend;
    } while (operation_.Batch() > 0 && sum.wall < nanoseconds);
    return sum;
  }

 private:
  Cost Now() const {
    Cost now;
    for (const clockid_t clock : clocks_) now.daemon += Read(clock);
    now.frontend = Read(CLOCK_THREAD_CPUTIME_ID);
    now.wall = Read(CLOCK_MONOTONIC);
    return now;
  }

  // Until `deadline`, or to the end of the batch.
  uint64_t Serve(uint64_t deadline) {
    const size_t batch = operation_.Batch();
    uint64_t started = 0;
    uint64_t done = 0;
    bool more = true;
    const auto next = [&](Slot& slot) {
      if (batch > 0)
        more = started < batch;
      else if (started % 16 == 0 && started > 0)
        more = more && Read(CLOCK_MONOTONIC) < deadline;
      if (!more) return;
      started++;
      operation_.Start(slot);
    };
    for (size_t i = 0; i < load_.depth; i++) next(session_.slot(i));
    KickAll();
    while (done < started) {
      bool found = false;
      for (size_t queue = 1; queue < session_.rings().size(); queue++) {
        Ring& ring = *session_.rings()[queue];
        uint16_t head;
        uint32_t written;
        while (ring.TakeUsed(&head, &written)) {
          found = true;
          Slot& slot = session_.Completed(queue, head);
          if (operation_.Continue(slot, slot.Check(written))) continue;
          done++;
          next(slot);
        }
        // As Linux does: what a completion has brought about is announced before the next is
        // waited for.
        if (found) ring.Kick();
        if (load_.polls) ring.DisableSignals();
      }
      if (found) continue;
      if (load_.polls)
        __builtin_ia32_pause();
      else
        Sleep();
    }
    return done;
  }

  void KickAll() {
    for (size_t i = 1; i < session_.rings().size(); i++) session_.rings()[i]->Kick();
  }

  void Sleep() {
    for (size_t i = 1; i < session_.rings().size(); i++)
      if (!session_.rings()[i]->EnableSignals()) return;
    if (poll(calls_.data(), calls_.size(), -1) < 0) Fail("poll");
    for (const pollfd& call : calls_) {
      eventfd_t count;
      if ((call.revents & POLLIN) != 0 && eventfd_read(call.fd, &count) < 0) Fail("eventfd");
    }
  }

  Session& session_;
  Operation& operation_;
  const Load& load_;
  std::vector<clockid_t> clocks_;
  std::vector<pollfd> calls_;
};

}  // namespace

std::vector<pid_t> ProcessTree(pid_t pid) {
  std::vector<pid_t> tree = {pid};
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = opendir(tasks.c_str());
  if (directory == nullptr) Fail(tasks);
  while (const dirent* task = readdir(directory)) {
    std::ifstream children(tasks + "/" + task->d_name + "/children");
    for (pid_t child; children >> child;)
      for (const pid_t each : ProcessTree(child)) tree.push_back(each);
  }
  closedir(directory);
  return tree;
}

Cost Measure(Session& session, Operation& operation, const Load& load,
             const std::vector<pid_t>& daemon) {
  Run run(session, operation, load, daemon);
  run.For(load.nanoseconds / 10);
  return run.For(load.nanoseconds);
}

}  // namespace viewfsd::bench
