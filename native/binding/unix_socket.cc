// SPDX-License-Identifier: Apache-2.0
// Sockets, and descriptors that go through them; declared in native/unix-socket.ts.
#include "binding/unix_socket.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/errno_error.h"
#include "util/fd_message.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

// (path, group?)
Napi::Value ListenUnix(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = StringArgument(info, 0, "path");
  constexpr auto kNoGroup = static_cast<gid_t>(-1);
  const gid_t group = info[1].IsUndefined()
                          ? kNoGroup
                          : static_cast<gid_t>(IntegerArgument(info, 1, "group", 0, kNoGroup - 1));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    throw ErrnoError(env, ENAMETOOLONG, "bind", path);
  memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw ErrnoError(env, errno, "socket");
  // What a daemon that was killed has left behind; never a file of another kind.
  struct stat old;
  if (lstat(path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode)) unlink(path.c_str());
  // The mask decides the socket's mode at birth: a chmod afterwards would leave a moment for others
  // to connect.
  const mode_t mask = umask(0077);
  const int bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  const int error = errno;
  umask(mask);
  if (bound != 0) throw ErrnoError(env, error, "bind", path);
  if (group != kNoGroup) {
    // In this order the wrong group is never let in.
    if (lchown(path.c_str(), static_cast<uid_t>(-1), group) != 0)
      throw ErrnoError(env, errno, "chown", path);
    if (chmod(path.c_str(), 0770) != 0) throw ErrnoError(env, errno, "chmod", path);
  }
  if (listen(fd.get(), 8) != 0) throw ErrnoError(env, errno, "listen", path);
  return Napi::Number::New(env, fd.release());
}

// (host, port)
Napi::Value ListenTcp(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string host = StringArgument(info, 0, "host");
  const std::string port = std::to_string(IntegerArgument(info, 1, "port", 0, UINT16_MAX));
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0)
    throw ErrnoError(env, EINVAL, "getaddrinfo", host);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, freeaddrinfo);
  UniqueFd fd(socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw ErrnoError(env, errno, "socket");
  // What a daemon before had there may still be on its way.
  const int on = 1;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
    throw ErrnoError(env, errno, "setsockopt");
  if (bind(fd.get(), address->ai_addr, address->ai_addrlen) != 0)
    throw ErrnoError(env, errno, "bind", host);
  if (listen(fd.get(), 8) != 0) throw ErrnoError(env, errno, "listen", host);
  return Napi::Number::New(env, fd.release());
}

// (path) -> descriptor or -errno
Napi::Value ConnectDatagram(const Napi::CallbackInfo& info) {
  const std::string path = StringArgument(info, 0, "path");
  const auto connected = [&]() -> int {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) return -ENAMETOOLONG;
    memcpy(address.sun_path, path.c_str(), path.size());
    UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
      return -errno;
    return fd.release();
  };
  return Napi::Number::New(info.Env(), connected());
}

// A descriptor that this process was started with: checks that it listens and makes it like one of
// ListenUnix.
void AdoptListener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  int listens = 0;
  socklen_t size = sizeof(listens);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0)
    throw ErrnoError(env, errno, "getsockopt");
  if (listens == 0) throw ErrnoError(env, EINVAL, "accept");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    throw ErrnoError(env, errno, "fcntl");
}

// The id of a group by name, -1 where there is none.
Napi::Value GroupId(const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "name");
  std::vector<char> buffer(1024);
  for (;;) {
    struct group entry;
    struct group* found = nullptr;
    const int error = getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < (size_t{1} << 24)) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    return Napi::Number::New(info.Env(), found == nullptr ? -1.0 : found->gr_gid);
  }
}

// Connects to the system log now, so that it can still be reached from within a sandbox.
void OpenSystemLog(const Napi::CallbackInfo& info) {
  // openlog() keeps the pointer.
  static std::string name;
  name = StringArgument(info, 0, "name");
  // Here, not at the first message: /etc/localtime is the guest's to make by then.
  tzset();
  openlog(name.c_str(), LOG_PID | LOG_NDELAY, LOG_USER);
}

// (priority, message)
void WriteSystemLog(const Napi::CallbackInfo& info) {
  const std::string message = StringArgument(info, 1, "message");
  syslog(static_cast<int>(IntegerArgument(info, 0, "priority", LOG_EMERG, LOG_DEBUG)), "%s",
         message.c_str());
}

Napi::Value AcceptUnix(const Napi::CallbackInfo& info) {
  int fd;
  do fd = accept4(FdArgument(info, 0), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  return Napi::Number::New(info.Env(), fd < 0 ? -errno : fd);
}

// (fd, buffer, offset, length, fds[]) -> bytes, 0 at the end, -errno. Appends received descriptors
// to `fds`.
Napi::Value ReceiveWithFds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const Bytes buffer = BytesArgument(info, 1, "buffer");
  const auto size = static_cast<int64_t>(buffer.size);
  const int64_t offset = IntegerArgument(info, 2, "offset", 0, size);
  const int64_t length = IntegerArgument(info, 3, "length", 0, size - offset);
  if (!info[4].IsArray()) throw Napi::TypeError::New(env, "fds must be an array");
  Napi::Array fds = info[4].As<Napi::Array>();
  std::vector<UniqueFd> arrived;
  const ssize_t received = ReceiveMessage(fd, {buffer.data + offset, static_cast<size_t>(length)},
                                          &arrived, MSG_DONTWAIT);
  for (UniqueFd& one : arrived) fds.Set(fds.Length(), one.release());
  return Napi::Number::New(env, static_cast<double>(received));
}

// (fd, buffer, length, fds[]?) -> bytes, 0 at the end, -errno. The message stays in the socket; its
// descriptors come as others, if at all.
Napi::Value PeekWithFds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const Bytes buffer = BytesArgument(info, 1, "buffer");
  const auto size = static_cast<int64_t>(buffer.size);
  const auto length = static_cast<size_t>(IntegerArgument(info, 2, "length", 0, size));
  if (!info[3].IsArray()) {
    const ssize_t peeked = recv(fd, buffer.data, length, MSG_PEEK | MSG_DONTWAIT);
    return Napi::Number::New(env, static_cast<double>(peeked < 0 ? -errno : peeked));
  }
  Napi::Array fds = info[3].As<Napi::Array>();
  std::vector<UniqueFd> arrived;
  const ssize_t peeked =
      ReceiveMessage(fd, {buffer.data, length}, &arrived, MSG_PEEK | MSG_DONTWAIT);
  for (UniqueFd& one : arrived) fds.Set(fds.Length(), one.release());
  return Napi::Number::New(env, static_cast<double>(peeked));
}

// (fd, length): takes that much from the socket, with its descriptors
void SkipBytes(const Napi::CallbackInfo& info) {
  char bytes[4096];
  int64_t left = IntegerArgument(info, 1, "length", 0, INT32_MAX);
  while (left > 0) {
    const ssize_t skipped =
        recv(FdArgument(info, 0), bytes, std::min<size_t>(sizeof(bytes), static_cast<size_t>(left)),
             MSG_DONTWAIT);
    if (skipped <= 0) return;
    left -= skipped;
  }
}

// (fd, buffer, fds[]) -> bytes or -errno.
Napi::Value SendWithFds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const Bytes buffer = BytesArgument(info, 1, "buffer");
  if (!info[2].IsArray()) throw Napi::TypeError::New(env, "fds must be an array");
  const Napi::Array array = info[2].As<Napi::Array>();
  if (array.Length() > kMaxMessageFds) throw Napi::RangeError::New(env, "too many fds");
  std::vector<int> fds;
  for (uint32_t i = 0; i < array.Length(); i++) fds.push_back(array.Get(i).ToNumber().Int32Value());
  iovec data[] = {{buffer.data, buffer.size}};
  return Napi::Number::New(env, static_cast<double>(SendMessage(fd, data, fds)));
}

// (path) Creates and locks a PID file and writes the id of this process; EAGAIN where another
// process holds it. The lock lasts as long as the descriptor that is returned.
Napi::Value LockPidFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = StringArgument(info, 0, "path");
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throw ErrnoError(env, errno, "open", path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) throw ErrnoError(env, errno, "flock", path);
  const std::string text = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw ErrnoError(env, errno, "write", path);
  return Napi::Number::New(env, fd.release());
}

// Ends the process at once: no exit handlers, no waiting for threads that are stuck in a system
// call.
void ExitNow(const Napi::CallbackInfo& info) {
  _exit(static_cast<int>(IntegerArgument(info, 0, "code", 0, 255)));
}

}  // namespace

void InitUnixSocket(Napi::Env env, Napi::Object exports) {
  exports.Set("listenUnix", Napi::Function::New(env, ListenUnix, "listenUnix"));
  exports.Set("connectDatagram", Napi::Function::New(env, ConnectDatagram, "connectDatagram"));
  exports.Set("listenTcp", Napi::Function::New(env, ListenTcp, "listenTcp"));
  exports.Set("adoptListener", Napi::Function::New(env, AdoptListener, "adoptListener"));
  exports.Set("groupId", Napi::Function::New(env, GroupId, "groupId"));
  exports.Set("openSystemLog", Napi::Function::New(env, OpenSystemLog, "openSystemLog"));
  exports.Set("writeSystemLog", Napi::Function::New(env, WriteSystemLog, "writeSystemLog"));
  exports.Set("acceptUnix", Napi::Function::New(env, AcceptUnix, "acceptUnix"));
  exports.Set("receiveWithFds", Napi::Function::New(env, ReceiveWithFds, "receiveWithFds"));
  exports.Set("peekWithFds", Napi::Function::New(env, PeekWithFds, "peekWithFds"));
  exports.Set("skipBytes", Napi::Function::New(env, SkipBytes, "skipBytes"));
  exports.Set("sendWithFds", Napi::Function::New(env, SendWithFds, "sendWithFds"));
  exports.Set("lockPidFile", Napi::Function::New(env, LockPidFile, "lockPidFile"));
  exports.Set("exitNow", Napi::Function::New(env, ExitNow, "exitNow"));
}

}  // namespace viewfsd
