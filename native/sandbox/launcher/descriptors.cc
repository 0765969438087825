// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/descriptors.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "sandbox/launcher/failure.h"
#include "util/fd_message.h"

namespace viewfsd {

ControlPair MakeControlPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) FailErrno("socketpair");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void SendByte(int socket, char byte, int fd) {
  iovec data[] = {{&byte, 1}};
  const ssize_t sent = SendMessage(socket, data, {&fd, fd < 0 ? size_t{0} : size_t{1}});
  // The other end has gone: whoever waits for its answer sees that, too.
  if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET)
    FailErrno("control socket", static_cast<int>(-sent));
}

int ReceiveByte(int socket, UniqueFd* fd) {
  char byte = 0;
  std::vector<UniqueFd> fds;
  if (ReceiveMessage(socket, {&byte, 1}, &fds) <= 0) return -1;
  if (fd != nullptr && !fds.empty()) *fd = std::move(fds[0]);
  return static_cast<unsigned char>(byte);
}

void Inherit(int fd) {
  if (fcntl(fd, F_SETFD, 0) != 0) FailErrno("fcntl");
}

}  // namespace viewfsd
