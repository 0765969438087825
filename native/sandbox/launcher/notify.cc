// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "util/unique_fd.h"

namespace viewfsd {
namespace {

UniqueFd& Socket() {
  static UniqueFd fd;
  return fd;
}

}  // namespace

void OpenNotifySocket() {
  const char* path = getenv("NOTIFY_SOCKET");
  if (path == nullptr) return;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if (length > 0 && length < sizeof(address.sun_path)) {
    memcpy(address.sun_path, path, length);
    // An abstract one.
    if (path[0] == '@') address.sun_path[0] = '\0';
    UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
    if (fd && connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0)
      Socket() = std::move(fd);
  }
  unsetenv("NOTIFY_SOCKET");
}

void Notify(const char* state) {
  // A manager that does not listen must not hold up the daemon.
  if (Socket()) send(Socket().get(), state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void CloseNotifySocket() { Socket().reset(); }

}  // namespace viewfsd
