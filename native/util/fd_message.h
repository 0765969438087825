// SPDX-License-Identifier: Apache-2.0
// Messages over a Unix socket with descriptors beside their bytes: SCM_RIGHTS of unix(7).
#ifndef VIEWFSD_UTIL_FD_MESSAGE_H_
#define VIEWFSD_UTIL_FD_MESSAGE_H_

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "util/unique_fd.h"

namespace viewfsd {

// The kernel's SCM_MAX_FD.
constexpr size_t kMaxMessageFds = 253;

// Sends `parts` with at most kMaxMessageFds descriptors, which stay the caller's. Returns the bytes
// that were sent, or -errno; EPIPE raises no signal.
inline ssize_t SendMessage(int socket, std::span<iovec> parts, std::span<const int> fds) {
  if (fds.size() > kMaxMessageFds) return -EINVAL;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)] = {};
  msghdr message = {};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

// Receives into `data` and appends the descriptors that come along, close-on-exec. `flags` are
// recvmsg's. Returns the bytes that were received, 0 at the end, or -errno.
inline ssize_t ReceiveMessage(int socket, iovec data, std::vector<UniqueFd>* fds, int flags = 0) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t received;
  do received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds->emplace_back(fd);
    }
  }
  return received;
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_FD_MESSAGE_H_
