// SPDX-License-Identifier: Apache-2.0
#include "host/table_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace viewfsd {

namespace {

// MFD_NOEXEC_SEAL of Linux 6.3.
constexpr unsigned kNeverExecutable = 8;

// A file that is larger than a process may make one ends it by SIGXFSZ.
bool MayBeSoLarge(size_t bytes) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) < 0 || bytes <= limit.rlim_cur;
}

// A descriptor or -errno.
UniqueFd MakeMemory(size_t bytes) {
  constexpr const char* kName = "viewfsd-tables";
  UniqueFd fd(memfd_create(kName, MFD_CLOEXEC | kNeverExecutable));
  if (!fd && errno == EINVAL) fd.reset(memfd_create(kName, MFD_CLOEXEC));
  if (!fd) return UniqueFd(-errno);
  if (!MayBeSoLarge(bytes)) return UniqueFd(-EFBIG);
  return ftruncate(fd.get(), static_cast<off_t>(bytes)) < 0 ? UniqueFd(-errno) : std::move(fd);
}

}  // namespace

// A memfd rather than anonymous memory: where the host commits memory strictly
// (vm.overcommit_memory=2), only what is used of it counts.
TableMemory::TableMemory(size_t bytes, UniqueFd file)
    : bytes_(bytes), file_(file ? std::move(file) : MakeMemory(bytes)), error_(Map()) {}

int TableMemory::Map() {
  if (!file_) return file_.get();
  void* map = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (map == MAP_FAILED) return -errno;
  begin_ = static_cast<uint8_t*>(map);
  return 0;
}

TableMemory::~TableMemory() {
  if (begin_ == nullptr) return;
  Unpoison(begin_, bytes_);
  munmap(begin_, bytes_);
}

void* TableMemory::Next(size_t bytes) {
  if (begin_ == nullptr || bytes > bytes_ - reserved_) {
    if (error_ == 0) error_ = -ENOMEM;
    return nullptr;
  }
  void* next = begin_ + reserved_;
  reserved_ += bytes;
  return next;
}

void TableMemory::Release(void* begin) {
  // Where the kernel refuses, the memory stays; nobody relies on zeros.
  madvise(begin, kBlock, MADV_REMOVE);
}

}  // namespace viewfsd
