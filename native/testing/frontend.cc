// SPDX-License-Identifier: Apache-2.0
// Primitives for the integration tests, which play a vhost-user frontend and a
// virtio driver: guest RAM that JavaScript can see, eventfds, a Unix socket
// that carries descriptors, and copies that survive a page which can't be
// accessed.
#include "testing/frontend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace viewfsd {
namespace {

constexpr size_t kMaxFds = 64;

Napi::Value Result(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value < 0 ? -errno : value));
}

int32_t Int(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::Number>().Int32Value();
}

int64_t Long(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::Number>().Int64Value();
}

std::string Text(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::String>().Utf8Value();
}

// memfdCreate(name, size): a sealable memfd, or -errno.
Napi::Value MemfdCreate(const Napi::CallbackInfo& info) {
  int fd = memfd_create(Text(info, 0).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd >= 0 && ftruncate(fd, Long(info, 1)) < 0) {
    int error = errno;
    close(fd);
    errno = error;
    fd = -1;
  }
  return Result(info.Env(), fd);
}

// map(fd, offset, length, writable): a shared mapping as an ArrayBuffer. It
// stays until unmap(); at most 4 GiB.
Napi::Value Map(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int64_t length = Long(info, 2);
  // A larger external ArrayBuffer would end the process.
  if (length <= 0 || length > (int64_t{4} << 30)) {
    throw Napi::RangeError::New(env, "map: length must be 1 to 4 GiB");
  }
  int prot = info[3].ToBoolean() ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data =
      mmap(nullptr, static_cast<size_t>(length), prot, MAP_SHARED, Int(info, 0), Long(info, 1));
  if (data == MAP_FAILED) {
    throw Napi::Error::New(env, std::string("mmap: ") + strerror(errno));
  }
  return Napi::ArrayBuffer::New(env, data, static_cast<size_t>(length));
}

// unmap(buffer): detaches the ArrayBuffer of map() and unmaps its memory.
Napi::Value Unmap(const Napi::CallbackInfo& info) {
  Napi::ArrayBuffer buffer = info[0].As<Napi::ArrayBuffer>();
  void* data = buffer.Data();
  size_t length = buffer.ByteLength();
  buffer.Detach();
  return Result(info.Env(), munmap(data, length));
}

// eventfd(): a non-blocking one with count 0.
Napi::Value Eventfd(const Napi::CallbackInfo& info) {
  return Result(info.Env(), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

Napi::Value EventfdWrite(const Napi::CallbackInfo& info) {
  return Result(info.Env(), eventfd_write(Int(info, 0), 1));
}

// eventfdRead(fd): the count, or -EAGAIN.
Napi::Value EventfdRead(const Napi::CallbackInfo& info) {
  eventfd_t count = 0;
  int result = eventfd_read(Int(info, 0), &count);
  return Result(info.Env(), result < 0 ? -1 : static_cast<int64_t>(count));
}

// poll(fds: Int32Array, revents: Int16Array, timeoutMs): waits for POLLIN on
// each; how many are ready.
Napi::Value Poll(const Napi::CallbackInfo& info) {
  Napi::Int32Array fds = info[0].As<Napi::Int32Array>();
  Napi::Int16Array revents = info[1].As<Napi::Int16Array>();
  std::vector<struct pollfd> polled(std::min(fds.ElementLength(), revents.ElementLength()));
  for (size_t i = 0; i < polled.size(); i++) {
    polled[i] = {.fd = fds[i], .events = POLLIN, .revents = 0};
  }
  // The end of some child is no time that has passed.
  int ready;
  do ready = poll(polled.data(), polled.size(), Int(info, 2));
  while (ready < 0 && errno == EINTR);
  for (size_t i = 0; i < polled.size(); i++) revents[i] = polled[i].revents;
  return Result(info.Env(), ready);
}

Napi::Value ConnectUnix(const Napi::CallbackInfo& info) {
  std::string path = Text(info, 0);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return Result(info.Env(), -1);
  }
  memcpy(address.sun_path, path.c_str(), path.size());
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Result(info.Env(), -1);
  if (connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) < 0) {
    int error = errno;
    close(fd);
    errno = error;
    fd = -1;
  }
  return Result(info.Env(), fd);
}

// socketPair(): two connected stream sockets.
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
    throw Napi::Error::New(info.Env(), std::string("socketpair: ") + strerror(errno));
  }
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, fds[0]);
  result.Set(1u, fds[1]);
  return result;
}

// duplicateFd(fd)
Napi::Value DuplicateFd(const Napi::CallbackInfo& info) {
  return Result(info.Env(), fcntl(Int(info, 0), F_DUPFD_CLOEXEC, 0));
}

// sendMessage(fd, bytes, fds: Int32Array): one sendmsg(2); bytes sent.
Napi::Value SendMessage(const Napi::CallbackInfo& info) {
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  Napi::Int32Array fds = info[2].As<Napi::Int32Array>();
  size_t count = std::min(fds.ElementLength(), kMaxFds);
  struct iovec iov = {.iov_base = bytes.Data(), .iov_len = bytes.ByteLength()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds.Data(), count * sizeof(int));
  }
  return Result(info.Env(), sendmsg(Int(info, 0), &message, MSG_NOSIGNAL));
}

// receiveMessage(fd, bytes, fds: number[]): one recvmsg(2) that doesn't wait;
// descriptors are pushed to `fds`; bytes received, 0 at the end, or -errno.
Napi::Value ReceiveMessage(const Napi::CallbackInfo& info) {
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  Napi::Array fds = info[2].As<Napi::Array>();
  struct iovec iov = {.iov_base = bytes.Data(), .iov_len = bytes.ByteLength()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t received = recvmsg(Int(info, 0), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) return Result(info.Env(), -1);
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      fds.Set(fds.Length(), fd);
    }
  }
  return Result(info.Env(), received);
}

// Copies between mapped memory and `bytes` by way of the kernel, so that a
// page which can't be accessed is an EFAULT and no SIGBUS.
Napi::Value GuardedCopy(const Napi::CallbackInfo& info, bool to_memory) {
  Napi::ArrayBuffer memory = info[0].As<Napi::ArrayBuffer>();
  size_t offset = static_cast<size_t>(Long(info, 1));
  Napi::Uint8Array bytes = info[2].As<Napi::Uint8Array>();
  size_t length = bytes.ByteLength();
  if (offset > memory.ByteLength() || length > memory.ByteLength() - offset) {
    throw Napi::RangeError::New(info.Env(), "guarded copy: out of range");
  }
  char* address = static_cast<char*>(memory.Data()) + offset;
  int fd = memfd_create("guarded-copy", MFD_CLOEXEC);
  if (fd < 0) return Result(info.Env(), -1);
  const void* from = to_memory ? static_cast<const void*>(bytes.Data()) : address;
  void* to = to_memory ? address : static_cast<void*>(bytes.Data());
  size_t done = 0;
  ssize_t step = 0;
  while (done < length) {
    step =
        pwrite(fd, static_cast<const char*>(from) + done, length - done, static_cast<off_t>(done));
    if (step > 0) {
      step = pread(fd, static_cast<char*>(to) + done, static_cast<size_t>(step),
                   static_cast<off_t>(done));
    }
    if (step <= 0) break;
    done += static_cast<size_t>(step);
  }
  int error = errno;
  close(fd);
  errno = error;
  return Result(info.Env(), done == 0 && step < 0 ? -1 : static_cast<int64_t>(done));
}

// guardedRead(memory, offset, bytes): bytes copied before the first that
// couldn't be, or -EFAULT if there is none.
Napi::Value GuardedRead(const Napi::CallbackInfo& info) { return GuardedCopy(info, false); }

// guardedWrite(memory, offset, bytes): the same in the other direction.
Napi::Value GuardedWrite(const Napi::CallbackInfo& info) { return GuardedCopy(info, true); }

// setXattr(path, name, value), getXattr(path, name, value): of the path
// itself, a symbolic link is not followed.
Napi::Value SetXattr(const Napi::CallbackInfo& info) {
  Napi::Uint8Array value = info[2].As<Napi::Uint8Array>();
  return Result(info.Env(), lsetxattr(Text(info, 0).c_str(), Text(info, 1).c_str(), value.Data(),
                                      value.ByteLength(), 0));
}

Napi::Value GetXattr(const Napi::CallbackInfo& info) {
  Napi::Uint8Array value = info[2].As<Napi::Uint8Array>();
  return Result(info.Env(), lgetxattr(Text(info, 0).c_str(), Text(info, 1).c_str(), value.Data(),
                                      value.ByteLength()));
}

}  // namespace

void InitTesting(Napi::Env env, Napi::Object exports) {
  Napi::Object testing = Napi::Object::New(env);
  auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    testing.Set(name, Napi::Function::New(env, function, name));
  };
  add("memfdCreate", MemfdCreate);
  add("map", Map);
  add("unmap", Unmap);
  add("eventfd", Eventfd);
  add("eventfdWrite", EventfdWrite);
  add("eventfdRead", EventfdRead);
  add("poll", Poll);
  add("connectUnix", ConnectUnix);
  add("socketPair", SocketPair);
  add("duplicateFd", DuplicateFd);
  add("sendMessage", SendMessage);
  add("receiveMessage", ReceiveMessage);
  add("guardedRead", GuardedRead);
  add("guardedWrite", GuardedWrite);
  add("setXattr", SetXattr);
  add("getXattr", GetXattr);
  exports.Set("testing", testing);
}

}  // namespace viewfsd
