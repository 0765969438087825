// SPDX-License-Identifier: Apache-2.0
#include "session/server_state.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "host/directory_record.h"

namespace viewfsd {
namespace {

constexpr size_t kBlock = 65536;

constexpr size_t Whole(size_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

uint8_t* memory = nullptr;
uint32_t queues = 0;

}  // namespace

const uint32_t ServerState::kVersion = StateRecord::kVersion << 16 | DirectoryRecord::kVersion;

int ServerState::Check(int fd) {
  uint32_t version = 0;
  if (pread(fd, &version, sizeof(version), offsetof(StateRecord, version)) < 0) return -errno;
  return version == kVersion ? 0 : -EPROTO;
}

int ServerState::Open(int fd, uint32_t queue_count) {
  if (queue_count > DeviceRecord::kMaxQueues || memory != nullptr) return -EINVAL;
  const size_t bytes = Whole(sizeof(StateRecord)) + queue_count * Whole(sizeof(JournalRecord));
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  if (status.st_size == 0 && ftruncate(fd, static_cast<off_t>(bytes)) < 0) return -errno;
  if (status.st_size != 0 && status.st_size != static_cast<off_t>(bytes)) return -EPROTO;
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return -errno;
  auto* state = static_cast<StateRecord*>(map);
  const uint32_t version = state->version.load(std::memory_order_acquire);
  if (version != 0 && (version != kVersion || state->queue_count != queue_count)) {
    munmap(map, bytes);
    return -EPROTO;
  }
  state->queue_count = queue_count;
  state->version.store(kVersion, std::memory_order_release);
  memory = static_cast<uint8_t*>(map);
  queues = queue_count;
  return 0;
}

StateRecord* ServerState::Get() { return reinterpret_cast<StateRecord*>(memory); }

JournalRecord* ServerState::Journal(uint32_t queue) {
  if (memory == nullptr || queue >= queues) return nullptr;
  return reinterpret_cast<JournalRecord*>(memory + Whole(sizeof(StateRecord)) +
                                          queue * Whole(sizeof(JournalRecord)));
}

}  // namespace viewfsd
