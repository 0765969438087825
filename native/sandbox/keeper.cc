// SPDX-License-Identifier: Apache-2.0
#include "sandbox/keeper.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "sandbox/seccomp_program.h"
#include "util/fd_message.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

// Of one message: as many numbers have to be free for what it brings.
constexpr size_t kBatch = 64;

// Placeholders below kFirstKept.
std::vector<int>& OwnNumbers() {
  static auto* numbers = new std::vector<int>();
  return *numbers;
}

// What the keeper needs, and nothing else.
std::vector<sock_filter> KeeperFilter(int channel) {
  const auto socket = static_cast<uint32_t>(channel);
  const auto only = [](uint32_t number, int argument, uint32_t value) {
    return SystemCallRule{
        .number = number, .test = ArgumentTest::kOneOf, .argument = argument, .values = {value}};
  };
  return CompileRules({only(__NR_recvmsg, 0, socket),
                       only(__NR_sendmsg, 0, socket),
                       only(__NR_fcntl, 1, F_GETFD),
                       {.number = __NR_exit_group}},
                      SECCOMP_RET_KILL_PROCESS);
}

void GiveUpCapabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  syscall(SYS_capset, &header, none);
}

// In the new process, which has one thread of a process that had several: it must not allocate
// memory, since another thread may have been about to.
[[noreturn]] void Keep(int channel, sock_fprog* filter) {
  GiveUpCapabilities();
  // The kernel may have no filters: whoever wants none has said so to the server (--seccomp=none).
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter);
  while (AnswerSuccessor(channel)) {
  }
  _exit(0);
}

}  // namespace

bool AnswerSuccessor(int channel) {
  int numbers[kBatch];
  iovec wanted = {numbers, sizeof(numbers)};
  msghdr message = {};
  message.msg_iov = &wanted;
  message.msg_iovlen = 1;
  ssize_t received;
  do received = recvmsg(channel, &message, 0);
  while (received < 0 && errno == EINTR);
  if (received <= 0) return false;
  int had[kBatch];
  size_t count = 0;
  for (size_t i = 0; i < static_cast<size_t>(received) / sizeof(int); i++)
    if (fcntl(numbers[i], F_GETFD) >= 0) had[count++] = numbers[i];
  // A message has to have some bytes.
  int none = -1;
  iovec answer[] = {{count > 0 ? had : &none, std::max<size_t>(count, 1) * sizeof(int)}};
  return SendMessage(channel, answer, {had, count}) >= 0;
}

int StartKeeper(int channel) {
  std::vector<sock_filter> program = KeeperFilter(channel);
  sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  // The server's handlers are nothing to it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const long keeper = syscall(SYS_clone, CLONE_FILES, nullptr, nullptr, nullptr, 0);
  const int error = errno;
  if (keeper == 0) Keep(channel, &filter);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return keeper < 0 ? -error : static_cast<int>(keeper);
}

int PrepareOwnNumbers() {
  if (!OwnNumbers().empty()) return 0;
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  OwnNumbers().push_back(fd);
  return 0;
}

int DuplicateOwn(int fd) {
  if (std::vector<int>& own = OwnNumbers(); own.size() > 1) {
    close(own.back());
    own.pop_back();
  }
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int ReserveOwnNumbers() {
  std::vector<int>& own = OwnNumbers();
  if (own.empty()) return -EBADF;
  for (;;) {
    const int fd = fcntl(own.front(), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (fd >= kFirstKept) {
      close(fd);
      return 0;
    }
    own.push_back(fd);
  }
}

int TakeDescriptors(int channel, const std::vector<int>& numbers) {
  std::vector<int>& own = OwnNumbers();
  // All but the one that the others are made of.
  const size_t room = std::min(kBatch, own.empty() ? 0 : own.size() - 1);
  if (room == 0) return -EMFILE;
  for (size_t i = 0; i < room; i++) {
    close(own.back());
    own.pop_back();
  }
  int result = 0;
  for (size_t done = 0; done < numbers.size() && result == 0; done += room) {
    const size_t count = std::min(room, numbers.size() - done);
    iovec wanted[] = {{const_cast<int*>(numbers.data()) + done, count * sizeof(int)}};
    if (const ssize_t sent = SendMessage(channel, wanted, {}); sent < 0) {
      result = static_cast<int>(sent);
      break;
    }
    int had[kBatch];
    std::vector<UniqueFd> fds;
    const ssize_t received = ReceiveMessage(channel, {had, sizeof(had)}, &fds);
    if (received <= 0) result = received < 0 ? static_cast<int>(received) : -ECONNRESET;
    // The keeper is a server's that a guest may have taken over: a number may be cut off.
    const size_t named = std::max<ssize_t>(received, 0) / sizeof(int);
    for (size_t i = 0; i < std::min(fds.size(), named); i++)
      if (had[i] >= kFirstKept && fcntl(had[i], F_GETFD) < 0) dup3(fds[i].get(), had[i], O_CLOEXEC);
  }
  const int reserved = ReserveOwnNumbers();
  return result < 0 ? result : reserved;
}

void LeaveKeeper(int channel) {
  if (channel < 0) return;
  std::vector<int>& own = OwnNumbers();
  if (channel < kFirstKept && !own.empty() && dup3(own.front(), channel, O_CLOEXEC) == channel)
    own.push_back(channel);
  else
    close(channel);
}

}  // namespace viewfsd
