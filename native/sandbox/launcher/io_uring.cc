// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/io_uring.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "sandbox/launcher/failure.h"
#include "util/io_uring_entries.h"

namespace viewfsd {

void RefuseIoUring() {
  // The number is the same on every architecture; the daemon's own filter refuses foreign ones.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 3),
      // The lower half; the kernel looks at no more.
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoUringEntries, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog request = {sizeof(program) / sizeof(program[0]), program};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &request) != 0) FailErrno("seccomp");
}

}  // namespace viewfsd
