// SPDX-License-Identifier: Apache-2.0
#include "sandbox/seccomp_rules.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/memory_view.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

namespace viewfsd {

namespace {

using Rules = std::vector<SystemCallRule>;

void Allow(Rules* rules, std::initializer_list<uint32_t> numbers) {
  for (const uint32_t number : numbers) rules->push_back({.number = number});
}

// file_syscalls.cc, shared_directory.cc, inode_table.cc, directory.cc: names and attributes. All of
// them take a directory descriptor and one component, or no name at all.
void AddFileSystem(Rules* rules) {
  Allow(rules,
        {__NR_openat,    __NR_openat2,   __NR_close,      __NR_statx,     __NR_newfstatat,
         __NR_fstat,     __NR_fstatfs,   __NR_getdents64, __NR_lseek,     __NR_readlinkat,
         __NR_mknodat,   __NR_mkdirat,   __NR_symlinkat,  __NR_linkat,    __NR_unlinkat,
         __NR_renameat2, __NR_renameat,  __NR_fchmodat,   __NR_fchmodat2, __NR_fchmod,
         __NR_fchownat,  __NR_fchown,    __NR_utimensat,  __NR_ftruncate, __NR_fallocate,
         __NR_fsync,     __NR_fdatasync, __NR_syncfs,     __NR_faccessat, __NR_faccessat2,
         __NR_flock,     __NR_fcntl,     __NR_dup,        __NR_dup3,      __NR_copy_file_range,
         __NR_fadvise64});
  // Inodes kept by handle; the second needs CAP_DAC_READ_SEARCH.
  Allow(rules, {__NR_name_to_handle_at, __NR_open_by_handle_at});
  // mount.cc: listmount
  Allow(rules, {458});
  // xattr.cc
  Allow(rules, {__NR_setxattr, __NR_lsetxattr, __NR_fsetxattr, __NR_getxattr, __NR_lgetxattr,
                __NR_fgetxattr, __NR_listxattr, __NR_llistxattr, __NR_flistxattr, __NR_removexattr,
                __NR_lremovexattr, __NR_fremovexattr});
  // FS_IOC_*: chattr and project ids of a guest's files.
  rules->push_back(
      {.number = __NR_ioctl,
       .test = ArgumentTest::kOneOf,
       .argument = 1,
       .values = {static_cast<uint32_t>(FS_IOC_GETFLAGS), static_cast<uint32_t>(FS_IOC_SETFLAGS),
                  static_cast<uint32_t>(FS_IOC_FSGETXATTR),
                  static_cast<uint32_t>(FS_IOC_FSSETXATTR)}});
}

// credentials.cc: the caller's ids for the length of one request; a context of its own for a
// thread.
void AddCredentials(Rules* rules) {
  Allow(rules,
        {__NR_setresuid, __NR_setresgid, __NR_setgroups, __NR_getgroups, __NR_capget, __NR_capset,
         __NR_umask, __NR_fchdir, __NR_getuid, __NR_geteuid, __NR_getgid, __NR_getegid});
  rules->push_back(
      {.number = __NR_unshare, .test = ArgumentTest::kOneOf, .argument = 0, .values = {CLONE_FS}});
}

// request_server.cc, split_virtqueue.cc, device.cc: data, kicks and calls; guest_memory.cc:
// regions; io_uring.cc: rings that exist, and can only read.
void AddQueues(Rules* rules) {
  Allow(rules,
        {__NR_read, __NR_write, __NR_readv, __NR_writev, __NR_pread64, __NR_pwrite64, __NR_preadv,
         __NR_pwritev, __NR_preadv2, __NR_pwritev2, __NR_eventfd2, __NR_epoll_create1,
         __NR_epoll_ctl, __NR_epoll_pwait, __NR_sched_getaffinity, __NR_io_uring_enter});
}

// unix_socket.cc, backend_channel.cc, fd_watcher.cc: connections that come in through the listening
// socket, which is open already. No socket can be made, bound or connected. sendto: the system log.
// getsock*: a new thread of Node asks what its standard descriptors are; systemd makes them
// sockets.
void AddSockets(Rules* rules) {
  // syslog(3) would connect again when the log's daemon has been restarted; messages are lost then.
  rules->push_back({.number = __NR_socket,
                    .test = ArgumentTest::kOneOf,
                    .argument = 1,
                    .values = {SOCK_DGRAM | SOCK_CLOEXEC},
                    .error = EACCES});
  Allow(rules, {__NR_accept4, __NR_getsockname, __NR_getsockopt, __NR_recvfrom, __NR_recvmsg,
                __NR_sendmsg, __NR_sendto, __NR_shutdown, __NR_ppoll});
  // servers.cc: replies that a successor knows to have been sent.
  Allow(rules, {__NR_sendfile});
}

// memory_view.cc, view_ranges.cc, view_window.cc
void AddMemoryView(Rules* rules) {
  rules->push_back(
      {.number = __NR_ioctl,
       .test = ArgumentTest::kOneOf,
       .argument = 1,
       .values = {
           static_cast<uint32_t>(MEMVIEW_SET_SIZE), static_cast<uint32_t>(MEMVIEW_SET_FAULT_POLICY),
           static_cast<uint32_t>(MEMVIEW_MAP_FD), static_cast<uint32_t>(MEMVIEW_UNMAP_FD),
           static_cast<uint32_t>(MEMVIEW_UNMAP_FDS), static_cast<uint32_t>(MEMVIEW_GET_VIEWFD),
           static_cast<uint32_t>(MEMVIEW_GET_INFO), static_cast<uint32_t>(MEMVIEW_GET_USE)}});
}

// V8, libuv and glibc: memory, threads, time, signals.
void AddRuntime(Rules* rules) {
  // The just-in-time compiler needs executable memory, but never code from a file: nobody may load
  // what a guest has put into its directory. (V8 would do something like it in a new thread, had
  // server/sandbox/launch.ts not told it otherwise.)
  rules->push_back(
      {.number = __NR_mmap, .test = ArgumentTest::kNoBits, .argument = 2, .values = {PROT_EXEC}});
  rules->push_back({.number = __NR_mmap,
                    .test = ArgumentTest::kAllBits,
                    .argument = 3,
                    .values = {MAP_ANONYMOUS}});
  rules->push_back({.number = __NR_mmap, .error = EPERM});
  Allow(rules, {__NR_munmap, __NR_mremap, __NR_mprotect, __NR_madvise, __NR_brk, __NR_mincore,
                __NR_pkey_alloc, __NR_pkey_free, __NR_pkey_mprotect, __NR_membarrier});
  // Queue threads start when a frontend first uses their queue. clone3 takes its flags in memory,
  // where no filter can look; glibc then uses clone. Threads only, no processes.
  rules->push_back({.number = __NR_clone3, .error = ENOSYS});
  rules->push_back({.number = __NR_clone,
                    .test = ArgumentTest::kAllBits,
                    .argument = 0,
                    .values = {CLONE_VM | CLONE_THREAD}});
  Allow(rules,
        {__NR_set_robust_list, __NR_rseq, __NR_exit, __NR_exit_group, __NR_futex, __NR_sched_yield,
         __NR_gettid, __NR_getpid, __NR_getppid, __NR_getcpu, __NR_sched_getparam,
         __NR_sched_getscheduler, __NR_getpriority, __NR_getrlimit, __NR_getcwd});
  // Node 24 asks for limits; none is set (a null pointer).
  rules->push_back(
      {.number = __NR_prlimit64, .test = ArgumentTest::kOneOf, .argument = 2, .values = {0}});
  rules->push_back({.number = __NR_prctl,
                    .test = ArgumentTest::kOneOf,
                    .argument = 0,
                    .values = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA}});
  Allow(rules,
        {__NR_clock_gettime, __NR_clock_getres, __NR_clock_nanosleep, __NR_nanosleep,
         __NR_gettimeofday, __NR_getrusage, __NR_times, __NR_sysinfo, __NR_getrandom, __NR_uname});
  Allow(rules, {__NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_rt_sigpending,
                __NR_sigaltstack, __NR_restart_syscall});
  // abort(3), and libuv's way to pass a signal on to its loop.
  rules->push_back({.number = __NR_tgkill,
                    .test = ArgumentTest::kOneOf,
                    .argument = 0,
                    .values = {static_cast<uint32_t>(getpid())}});
  // libuv: a new thread's event loop.
  Allow(rules, {__NR_pipe2});
  rules->push_back({.number = __NR_ioctl,
                    .test = ArgumentTest::kOneOf,
                    .argument = 1,
                    .values = {FIOCLEX, FIONCLEX, FIONBIO}});
  // Is standard error a terminal? No.
  rules->push_back({.number = __NR_ioctl,
                    .test = ArgumentTest::kOneOf,
                    .argument = 1,
                    .values = {TCGETS, TIOCGWINSZ},
                    .error = ENOTTY});
  // libuv tries, and does without. (A ring would go around this filter.)
  rules->push_back({.number = __NR_io_uring_setup, .error = ENOSYS});
}

// Node asks for /proc/self/exe, to tell its programs. It is not there, nor is what a guest puts in
// its place. Before what AddFileSystem allows of readlinkat.
void RefuseOwnName(Rules* rules) {
#ifdef __NR_readlink
  rules->push_back({.number = __NR_readlink, .error = ENOENT});
#endif
  rules->push_back({.number = __NR_readlinkat,
                    .test = ArgumentTest::kOneOf,
                    .argument = 0,
                    .values = {static_cast<uint32_t>(AT_FDCWD)},
                    .error = ENOENT});
}

// What glibc still calls on x86-64. Architectures of asm-generic/unistd.h have only the successors,
// which are allowed above. unlink: without a sandbox the daemon removes its socket itself.
void AddFormerCalls(Rules* rules) {
#ifdef __x86_64__
  Allow(rules, {__NR_epoll_wait, __NR_poll, __NR_time, __NR_unlink});
#else
  (void)rules;
#endif
}

}  // namespace

std::vector<SystemCallRule> SystemCallRules() {
  Rules rules;
  RefuseOwnName(&rules);
  AddFileSystem(&rules);
  AddCredentials(&rules);
  AddQueues(&rules);
  AddSockets(&rules);
  AddMemoryView(&rules);
  AddRuntime(&rules);
  AddFormerCalls(&rules);
  return rules;
}

}  // namespace viewfsd
