// SPDX-License-Identifier: Apache-2.0
#include "memory/guarded_access.h"

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <mutex>

namespace viewfsd {
namespace {

// Where this thread goes on after a fault; null outside of guarded code.
thread_local sigjmp_buf* recovery_point = nullptr;
std::atomic<uint64_t> fault_count{0};
struct sigaction previous_bus;
struct sigaction previous_segv;

void HandleFault(int signal, siginfo_t* info, void* ucontext) {
  // si_code <= 0: sent by someone with kill(2), not raised by an access.
  if (recovery_point != nullptr && info->si_code > 0) {
    sigjmp_buf* point = recovery_point;
    recovery_point = nullptr;
    fault_count.fetch_add(1, std::memory_order_relaxed);
    siglongjmp(*point, 1);
  }
  const struct sigaction& previous = signal == SIGBUS ? previous_bus : previous_segv;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, ucontext);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  // The default action: put it back and return, so that the access faults again and ends the
  // process with its core showing the real place. A signal that was sent needs to be raised again.
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  sigaction(signal, &fallback, nullptr);
  if (info->si_code <= 0) raise(signal);
}

}  // namespace

void InstallFaultHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = HandleFault;
    // SA_NODEFER: we leave the handler by siglongjmp and save no signal mask (that would cost a
    // system call per guarded access). SA_ONSTACK: the previous handler may count on it.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_bus);
    sigaction(SIGSEGV, &action, &previous_segv);
  });
}

// Not inlined: only this frame lives across the jump, so no caller's local can end up in an
// indeterminate state.
__attribute__((noinline)) bool RunGuarded(void (*body)(void*), void* context) {
  sigjmp_buf point;
  if (sigsetjmp(point, 0) != 0) return false;
  recovery_point = &point;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  body(context);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  recovery_point = nullptr;
  return true;
}

bool GuardedCopy(void* destination, const void* source, size_t size) {
  return Guarded([=] { memcpy(destination, source, size); });
}

uint64_t GuardedFaultCount() { return fault_count.load(std::memory_order_relaxed); }

}  // namespace viewfsd
