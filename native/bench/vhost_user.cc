// SPDX-License-Identifier: Apache-2.0
#include "bench/vhost_user.h"

#include <linux/vhost_types.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "bench/fail.h"

namespace viewfsd::bench {
namespace {

enum Message : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kSetMemTable = 5,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kNeedReply = 8;
constexpr uint64_t kMq = 1 << 0;
constexpr uint64_t kReplyAck = 1 << 3;
constexpr uint64_t kProtocolFeatures = 1ull << 30;
// VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC
constexpr uint64_t kFeatures = 1ull << 32 | 1ull << 29 | 1ull << 28;

struct Header {
  uint32_t request;
  uint32_t flags;
  uint32_t size;
};

struct MemoryTable {
  uint32_t count;
  uint32_t padding;
  uint64_t address, size, user_address, offset;
};

void Send(int socket, uint32_t request, const void* body, uint32_t size, int fd, uint32_t flags) {
  Header header = {request, kVersion | flags, size};
  iovec pieces[] = {{&header, sizeof(header)}, {const_cast<void*>(body), size}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &fd, sizeof(int));
  }
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof(header) + size))
    Fail("vhost-user request " + std::to_string(request));
}

uint64_t Receive(int socket, uint32_t request) {
  Header header = {};
  uint64_t value = 0;
  if (recv(socket, &header, sizeof(header), MSG_WAITALL) != sizeof(header) ||
      header.request != request || header.size != sizeof(value) ||
      recv(socket, &value, sizeof(value), MSG_WAITALL) != sizeof(value))
    Fail("the reply to vhost-user request " + std::to_string(request));
  return value;
}

uint64_t Ask(int socket, uint32_t request) {
  Send(socket, request, nullptr, 0, -1, 0);
  return Receive(socket, request);
}

template <typename Body>
void Tell(int socket, uint32_t request, const Body& body, int fd = -1) {
  Send(socket, request, &body, sizeof(body), fd, 0);
}

// With an acknowledgement that it has been done.
template <typename Body>
void Do(int socket, uint32_t request, const Body& body, int fd = -1) {
  Send(socket, request, &body, sizeof(body), fd, kNeedReply);
  if (Receive(socket, request) != 0) Fail("refused: vhost-user request " + std::to_string(request));
}

}  // namespace

int ConnectTo(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) Fail(path, ENAMETOOLONG);
  memcpy(address.sun_path, path.c_str(), path.size());
  for (int tries = 0; tries < 2000; tries++) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) Fail("socket");
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
    close(fd);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Fail(path);
}

void StartDevice(int socket, const GuestRam& ram, const std::vector<std::unique_ptr<Ring>>& rings) {
  const uint64_t offered = Ask(socket, kGetFeatures);
  if ((offered & kFeatures) != kFeatures) Fail("the daemon lacks a feature of the ring", ENOTSUP);
  const uint64_t protocol = Ask(socket, kGetProtocolFeatures);
  if ((protocol & (kMq | kReplyAck)) != (kMq | kReplyAck))
    Fail("the daemon lacks a protocol feature", ENOTSUP);
  Tell(socket, kSetProtocolFeatures, kMq | kReplyAck);
  if (Ask(socket, kGetQueueNum) < rings.size()) Fail("queues", ENOTSUP);
  Send(socket, kSetOwner, nullptr, 0, -1, 0);
  Tell(socket, kSetFeatures, kFeatures | kProtocolFeatures);
  const auto base = reinterpret_cast<uint64_t>(ram.At(0));
  Do(socket, kSetMemTable, MemoryTable{1, 0, 0, ram.size(), base, 0}, ram.fd());
  for (uint32_t i = 0; i < rings.size(); i++) {
    const Layout* ring = rings[i]->layout();
    Tell(socket, kSetVringNum, vhost_vring_state{i, Ring::kSize});
    Tell(socket, kSetVringBase, vhost_vring_state{i, 0});
    Tell(socket, kSetVringAddr,
         vhost_vring_addr{i, 0, reinterpret_cast<uint64_t>(ring->descriptors),
                          reinterpret_cast<uint64_t>(&ring->used_flags),
                          reinterpret_cast<uint64_t>(&ring->available_flags), 0});
    Tell(socket, kSetVringKick, uint64_t{i}, rings[i]->kick());
    Tell(socket, kSetVringCall, uint64_t{i}, rings[i]->call());
  }
  for (uint32_t i = 0; i < rings.size(); i++) Do(socket, kSetVringEnable, vhost_vring_state{i, 1});
}

}  // namespace viewfsd::bench
