// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/filters.h"

#include <asm/unistd.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <vector>

#include "sandbox/launcher/failure.h"
#include "sandbox/seccomp_program.h"

namespace viewfsd {
namespace {

using Rules = std::vector<SystemCallRule>;

void Add(Rules* rules, std::initializer_list<uint32_t> numbers, int error) {
  for (const uint32_t number : numbers) rules->push_back({.number = number, .error = error});
}

void Install(const Rules& rules, uint32_t otherwise) {
  std::vector<sock_filter> program = CompileRules(rules, otherwise);
  sock_fprog request = {static_cast<unsigned short>(program.size()), program.data()};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &request) != 0) FailErrno("seccomp");
}

}  // namespace

void FilterWaiting() {
  Rules rules;
  // supervisor.cc, servers.cc: what is waited for, and with whom is spoken.
  Add(&rules,
      {__NR_ppoll, __NR_read, __NR_write, __NR_close, __NR_recvmsg, __NR_sendmsg, __NR_sendto,
       __NR_socketpair, __NR_wait4, __NR_kill, __NR_getpid, __NR_clock_gettime},
      0);
  // The end: files are removed, and it ends as its child has (EndLike).
  Add(&rules,
      {__NR_unlinkat, __NR_prlimit64, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn,
       __NR_exit_group},
      0);
  // glibc: memory, and a poll that SIGSTOP has interrupted.
  Add(&rules,
      {__NR_brk, __NR_munmap, __NR_mremap, __NR_madvise, __NR_getrandom, __NR_restart_syscall}, 0);
  rules.push_back(
      {.number = __NR_mmap, .test = ArgumentTest::kNoBits, .argument = 2, .values = {PROT_EXEC}});
#ifdef __x86_64__
  Add(&rules, {__NR_poll, __NR_unlink}, 0);
#endif
  Install(rules, SECCOMP_RET_ERRNO | EPERM);
}

void FilterStarting() {
  Rules rules;
  // Other kinds of namespaces than a server's own for its mounts; a server's threads unshare
  // CLONE_FS. clone3 takes its flags in memory, where no filter can look; glibc then uses clone.
  constexpr uint32_t kNamespaces =
      CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  rules.push_back({.number = __NR_clone,
                   .test = ArgumentTest::kNoBits,
                   .argument = 0,
                   .values = {kNamespaces}});
  rules.push_back({.number = __NR_clone, .error = EPERM});
  rules.push_back({.number = __NR_clone3, .error = ENOSYS});
  rules.push_back(
      {.number = __NR_unshare, .test = ArgumentTest::kOneOf, .argument = 0, .values = {CLONE_FS}});
  rules.push_back({.number = __NR_unshare, .error = EPERM});
  // root_directory.cc makes one mount slave to the host's, and detaches one.
  rules.push_back({.number = __NR_mount,
                   .test = ArgumentTest::kOneOf,
                   .argument = 3,
                   .values = {MS_SLAVE | MS_REC}});
  rules.push_back({.number = __NR_mount, .error = EPERM});
  rules.push_back({.number = __NR_umount2,
                   .test = ArgumentTest::kOneOf,
                   .argument = 1,
                   .values = {MNT_DETACH}});
  rules.push_back({.number = __NR_umount2, .error = EPERM});
  // File systems, namespaces of others, the machine.
  Add(&rules, {__NR_fsopen,        __NR_fspick,       __NR_fsconfig,        __NR_fsmount,
               __NR_setns,         __NR_bpf,          __NR_perf_event_open, __NR_fanotify_init,
               __NR_quotactl,      __NR_swapon,       __NR_swapoff,         __NR_sethostname,
               __NR_setdomainname, __NR_add_key,      __NR_request_key,     __NR_keyctl,
               __NR_syslog,        __NR_kexec_load,   __NR_reboot,          __NR_acct,
               __NR_init_module,   __NR_finit_module, __NR_delete_module,   __NR_settimeofday,
               __NR_clock_settime},
      EPERM);
  // Other processes.
  Add(&rules,
      {__NR_ptrace, __NR_process_vm_readv, __NR_process_vm_writev, __NR_pidfd_getfd, __NR_kcmp,
       __NR_userfaultfd},
      EPERM);
  Install(rules, SECCOMP_RET_ALLOW);
}

}  // namespace viewfsd
