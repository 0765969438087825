// SPDX-License-Identifier: Apache-2.0
#include "fuse/repeated_append.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "session/server_state.h"
#include "util/store_order.h"

namespace viewfsd {
namespace {

// So much of what others have appended meanwhile is looked through.
constexpr uint64_t kOthers = 1 << 20;

// -1 where that can't be told.
int64_t EndOf(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? status.st_size : -1;
}

// As much as there is.
std::vector<uint8_t> ReadAt(int fd, uint64_t offset, uint64_t size) {
  std::vector<uint8_t> bytes(size);
  const ssize_t got = pread(fd, bytes.data(), size, static_cast<off_t>(offset));
  bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

}  // namespace

void NoteEnd(int fd, const FuseRequest& request) {
  if (request.end_before == nullptr ||
      request.end_before->load(std::memory_order_relaxed) != kNoEnd)
    return;
  request.end_before->store(EndOf(fd), std::memory_order_relaxed);
  KeepOrder();
}

uint64_t Appended(int fd, const FuseRequest& request, uint64_t size) {
  const int64_t before = request.end_before == nullptr ? kNoEnd : request.end_before->load();
  const int64_t end = EndOf(fd);
  // It had not been begun.
  if (before < 0 || end <= before) return 0;
  std::vector<uint8_t> data(size);
  if (!request.readable.CopyOut(request.payload_offset, data.data(), size)) return 0;
  const uint64_t more = static_cast<uint64_t>(end - before);
  const std::vector<uint8_t> found =
      ReadAt(fd, static_cast<uint64_t>(before), std::min(more, size + kOthers));
  if (std::search(found.begin(), found.end(), data.begin(), data.end()) != found.end()) return size;
  const bool begins = found.size() < size && std::equal(found.begin(), found.end(), data.begin());
  return begins ? found.size() : 0;
}

}  // namespace viewfsd
