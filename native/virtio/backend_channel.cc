// SPDX-License-Identifier: Apache-2.0
#include "virtio/backend_channel.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "util/fd_message.h"
#include "util/signal_eventfd.h"

namespace viewfsd {
namespace {

// vhost-user.rst, "Backend message types" and "Memory map description".
constexpr uint32_t kShmemMap = 9;
constexpr uint32_t kShmemUnmap = 10;
constexpr uint32_t kVersion = 1;
constexpr uint32_t kReply = 1u << 2;
constexpr uint32_t kNeedReply = 1u << 3;
constexpr uint64_t kMapReadWrite = 1;

struct Header {
  uint32_t request;
  uint32_t flags;
  uint32_t size;
};
static_assert(sizeof(Header) == 12);

struct MemoryMap {
  uint8_t shmid;
  uint8_t padding[7];
  uint64_t fd_offset;
  uint64_t shm_offset;
  uint64_t length;
  uint64_t flags;
};
static_assert(sizeof(MemoryMap) == 40);

// A frontend needs milliseconds; a stopped virtual machine manager must not hold a queue for ever.
constexpr std::chrono::milliseconds kReplyPatience{30'000};

int SendWithFd(int socket, const Header& header, const void* payload, size_t size, int fd) {
  iovec parts[] = {{const_cast<Header*>(&header), sizeof(header)},
                   {const_cast<void*>(payload), size}};
  const ssize_t sent = SendMessage(socket, parts, {&fd, fd < 0 ? size_t{0} : size_t{1}});
  if (sent < 0) return static_cast<int>(sent);
  // 52 bytes into an empty stream socket go at once or not at all.
  return static_cast<size_t>(sent) == sizeof(header) + size ? 0 : -EPIPE;
}

}  // namespace

BackendChannel::BackendChannel() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::shared_ptr<UniqueFd> BackendChannel::Socket() const {
  const std::lock_guard lock(socket_mutex_);
  return socket_;
}

void BackendChannel::SetSocket(UniqueFd socket) {
  auto next = socket.valid() ? std::make_shared<UniqueFd>(std::move(socket)) : nullptr;
  {
    const std::lock_guard lock(socket_mutex_);
    if (socket_ != nullptr) shutdown(socket_->get(), SHUT_RDWR);  // ends a wait on it
    socket_.swap(next);
  }
  Wake();
}

int BackendChannel::descriptor() const {
  const std::shared_ptr<UniqueFd> socket = Socket();
  return socket == nullptr ? -1 : socket->get();
}

bool BackendChannel::open() const { return Socket() != nullptr; }

void BackendChannel::Wake() { SignalEventFd(wake_.get()); }

// After a malformed or missing answer nothing on this socket can be told apart any more.
void BackendChannel::Close(const std::shared_ptr<UniqueFd>& socket) {
  const std::lock_guard lock(socket_mutex_);
  if (socket_ == socket) socket_ = nullptr;
}

int BackendChannel::ReceiveReply(int socket, std::chrono::milliseconds patience,
                                 const Interrupted& interrupted, bool* done) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  struct {
    Header header;
    uint64_t value;
  } __attribute__((packed)) reply;
  static_assert(sizeof(reply) == 20);
  for (;;) {
    // Peek until the whole reply is there: giving up must not lose half of it.
    const ssize_t have = recv(socket, &reply, sizeof(reply), MSG_PEEK | MSG_DONTWAIT);
    if (have == 0) return -EPIPE;
    if (have < 0 && errno != EAGAIN && errno != EINTR) return -errno;
    if (have == static_cast<ssize_t>(sizeof(reply))) break;
    if (interrupted()) return -EINTR;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return -ETIMEDOUT;
    // A partial reply stays readable, so poll returns at once: it comes in one piece from any real
    // frontend.
    pollfd events[2] = {{socket, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    poll(events, 2, static_cast<int>(left.count()));
    if ((events[1].revents & POLLIN) != 0) {
      uint64_t count;
      if (read(wake_.get(), &count, sizeof(count)) < 0) continue;
    }
  }
  if (recv(socket, &reply, sizeof(reply), MSG_DONTWAIT) != static_cast<ssize_t>(sizeof(reply)))
    return -EPIPE;
  if ((reply.header.request != kShmemMap && reply.header.request != kShmemUnmap) ||
      (reply.header.flags & kReply) == 0 || reply.header.size != sizeof(reply.value))
    return -EPROTO;
  *done = reply.value == 0;
  return 0;
}

int BackendChannel::DrainLocked(int socket, const Interrupted& interrupted) {
  while (!late_.empty()) {
    bool done = false;
    const int result = ReceiveReply(socket, kReplyPatience, interrupted, &done);
    if (result == -EINTR || result == -ETIMEDOUT) return result;
    if (result < 0) return -EIO;
    if (late_.front()) late_.front()(done);
    late_.pop_front();
  }
  return 0;
}

int BackendChannel::DrainLateReplies(const Interrupted& interrupted) {
  const std::lock_guard lock(request_mutex_);
  const std::shared_ptr<UniqueFd> socket = Socket();
  if (socket == nullptr || late_socket_.lock() != socket) {
    late_.clear();
    return 0;
  }
  return DrainLocked(socket->get(), interrupted);
}

int BackendChannel::Request(uint32_t request, int fd, const void* payload, size_t size,
                            const Interrupted& interrupted, LateReply late) {
  const std::lock_guard lock(request_mutex_);
  const std::shared_ptr<UniqueFd> socket = Socket();
  if (socket == nullptr) return -ENOTCONN;
  if (late_socket_.lock() != socket) {
    late_.clear();
    late_socket_ = socket;
  }
  const int drained = DrainLocked(socket->get(), interrupted);
  if (drained < 0) return drained;
  if (interrupted()) return -EINTR;
  const Header header = {request, kVersion | kNeedReply, static_cast<uint32_t>(size)};
  if (SendWithFd(socket->get(), header, payload, size, fd) < 0) {
    Close(socket);
    return -EIO;
  }
  (request == kShmemMap ? maps_ : unmaps_).fetch_add(1, std::memory_order_relaxed);
  bool done = false;
  const int result = ReceiveReply(socket->get(), kReplyPatience, interrupted, &done);
  if (result == 0) return done ? 0 : -EIO;
  if (result == -EINTR || result == -ETIMEDOUT) {
    late_.push_back(std::move(late));
    return result;
  }
  Close(socket);
  return -EIO;
}

int BackendChannel::ShmemMap(int fd, uint64_t fd_offset, uint64_t shm_offset, uint64_t length,
                             bool writable, const Interrupted& interrupted, LateReply late) {
  const MemoryMap payload = {0, {}, fd_offset, shm_offset, length, writable ? kMapReadWrite : 0};
  return Request(kShmemMap, fd, &payload, sizeof(payload), interrupted, std::move(late));
}

int BackendChannel::ShmemUnmap(uint64_t shm_offset, uint64_t length, const Interrupted& interrupted,
                               LateReply late) {
  const MemoryMap payload = {0, {}, 0, shm_offset, length, 0};
  return Request(kShmemUnmap, -1, &payload, sizeof(payload), interrupted, std::move(late));
}

}  // namespace viewfsd
