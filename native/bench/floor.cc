// SPDX-License-Identifier: Apache-2.0
#include "bench/floor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/fail.h"

namespace viewfsd::bench {
namespace {

// As viewfsd: how long to look for a request before sleeping, how often in vain before that is left
// for a while, completions a signal.
constexpr std::chrono::microseconds kSpin{40};
constexpr uint32_t kSpinMisses = 2;
constexpr uint32_t kWaitsWithoutSpin = 1000;
constexpr uint32_t kSignalBatch = 8;

// A request's buffers: the header and the arguments, data to be written; the reply's header, the
// rest of the reply.
struct Chain {
  iovec readable[Ring::kMaxSegments];
  iovec writable[Ring::kMaxSegments];
  int readable_count;
  int writable_count;

  const fuse_in_header& header() const {
    return *static_cast<const fuse_in_header*>(readable[0].iov_base);
  }
  template <typename Struct>
  const Struct& in() const {
    return *static_cast<const Struct*>(readable[1].iov_base);
  }
  template <typename Struct>
  Struct& out() const {
    return *static_cast<Struct*>(writable[1].iov_base);
  }
};

void Attributes(const struct statx& status, fuse_attr* attributes) {
  *attributes = {};
  attributes->ino = status.stx_ino;
  attributes->size = status.stx_size;
  attributes->blocks = status.stx_blocks;
  attributes->atime = static_cast<uint64_t>(status.stx_atime.tv_sec);
  attributes->mtime = static_cast<uint64_t>(status.stx_mtime.tv_sec);
  attributes->ctime = static_cast<uint64_t>(status.stx_ctime.tv_sec);
  attributes->mode = status.stx_mode;
  attributes->nlink = status.stx_nlink;
  attributes->uid = status.stx_uid;
  attributes->gid = status.stx_gid;
  attributes->blksize = status.stx_blksize;
}

// The reply to CREATE.
struct Created {
  fuse_entry_out entry;
  fuse_open_out open;
};

// The text behind an operation's struct.
template <typename Struct>
const char* Behind(const Struct& in) {
  return reinterpret_cast<const char*>(&in + 1);
}

// Serves one queue. Nodeids are descriptors, but for the root's; handles are descriptors, too.
class Server {
 public:
  Server(const GuestRam& ram, Ring* ring, int root)
      : ram_(ram), ring_(ring->layout()), kick_(ring->kick()), call_(ring->call()), root_(root) {
    proc_ = open("/proc/self/fd", O_PATH | O_CLOEXEC);
  }

  void Serve() {
    for (;;) {
      while (Take()) {
        const int64_t size = Execute();
        Complete(size);
      }
      Signal();
      if (Spin()) continue;
      Release(&ring_->available_event, next_);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (HasWork()) continue;
      eventfd_t count;
      // Non-blocking, since the daemons want it so.
      pollfd polled = {kick_, POLLIN, 0};
      poll(&polled, 1, -1);
      [[maybe_unused]] const int result = eventfd_read(kick_, &count);
    }
  }

 private:
  bool HasWork() const { return Acquire(ring_->available_index) != next_; }

  bool Spin() {
    if (misses_ >= kSpinMisses) {
      if (++waits_ < kWaitsWithoutSpin) return false;
      waits_ = misses_ = 0;
    }
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 32; i++) {
        if (HasWork()) {
          misses_ = 0;
          return true;
        }
        __builtin_ia32_pause();
      }
    } while (std::chrono::steady_clock::now() < deadline);
    misses_++;
    return false;
  }

  bool Take() {
    if (!HasWork()) return false;
    head_ = ring_->available[next_++ % Ring::kSize];
    const vring_desc& indirect = ring_->descriptors[head_];
    const auto* table = reinterpret_cast<const vring_desc*>(ram_.At(indirect.addr));
    chain_.readable_count = chain_.writable_count = 0;
    for (size_t i = 0; i < indirect.len / sizeof(vring_desc); i++) {
      const iovec piece = {ram_.At(table[i].addr), table[i].len};
      if ((table[i].flags & VRING_DESC_F_WRITE) != 0)
        chain_.writable[chain_.writable_count++] = piece;
      else
        chain_.readable[chain_.readable_count++] = piece;
    }
    return true;
  }

  // The size of the reply's body, or -errno.
  int64_t Execute() {
    const uint64_t node = chain_.header().nodeid;
    const int fd = node == FUSE_ROOT_ID ? root_ : static_cast<int>(node);
    struct statx status;
    switch (chain_.header().opcode) {
      case FUSE_INIT: {
        auto& out = chain_.out<fuse_init_out>();
        out = {};
        out.max_write = kMaxData;
        return sizeof(out);
      }
      case FUSE_LOOKUP: {
        const int found = openat(fd, &chain_.in<char>(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (found < 0 || statx(found, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) < 0)
          return -errno;
        auto& out = chain_.out<fuse_entry_out>();
        out = {};
        out.nodeid = static_cast<uint64_t>(found);
        Attributes(status, &out.attr);
        return sizeof(out);
      }
      case FUSE_GETATTR: {
        if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) < 0) return -errno;
        auto& out = chain_.out<fuse_attr_out>();
        out = {};
        Attributes(status, &out.attr);
        return sizeof(out);
      }
      case FUSE_OPEN: {
        char name[16];
        snprintf(name, sizeof(name), "%d", fd);
        const int flags = static_cast<int>(chain_.in<fuse_open_in>().flags);
        const int opened = openat(proc_, name, flags | O_CLOEXEC);
        if (opened < 0) return -errno;
        auto& out = chain_.out<fuse_open_out>();
        out = {};
        out.fh = static_cast<uint64_t>(opened);
        return sizeof(out);
      }
      case FUSE_RELEASE:
        return close(static_cast<int>(chain_.in<fuse_release_in>().fh)) < 0 ? -errno : 0;
      case FUSE_READ: {
        const auto& in = chain_.in<fuse_read_in>();
        const ssize_t got = preadv(static_cast<int>(in.fh), chain_.writable + 1,
                                   chain_.writable_count - 1, static_cast<off_t>(in.offset));
        return got < 0 ? -errno : got;
      }
      case FUSE_WRITE: {
        const auto& in = chain_.in<fuse_write_in>();
        const ssize_t put = pwritev(static_cast<int>(in.fh), chain_.readable + 2,
                                    chain_.readable_count - 2, static_cast<off_t>(in.offset));
        if (put < 0) return -errno;
        auto& out = chain_.out<fuse_write_out>();
        out = {static_cast<uint32_t>(put), 0};
        return sizeof(out);
      }
      case FUSE_CREATE: {
        const auto& in = chain_.in<fuse_create_in>();
        const char* name = Behind(in);
        const int flags = static_cast<int>(in.flags) | O_CREAT | O_CLOEXEC;
        const int opened = openat(fd, name, flags, in.mode & 07777);
        if (opened < 0) return -errno;
        const int found = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (found < 0 || statx(found, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) < 0)
          return -errno;
        auto& out = chain_.out<Created>();
        out = {};
        out.entry.nodeid = static_cast<uint64_t>(found);
        out.open.fh = static_cast<uint64_t>(opened);
        Attributes(status, &out.entry.attr);
        return sizeof(out);
      }
      case FUSE_UNLINK:
        return unlinkat(fd, &chain_.in<char>(), 0) < 0 ? -errno : 0;
      case FUSE_RENAME: {
        const auto& in = chain_.in<fuse_rename_in>();
        const char* name = Behind(in);
        // In the same directory, as the benchmark has it.
        return renameat(fd, name, fd, name + strlen(name) + 1) < 0 ? -errno : 0;
      }
      case FUSE_FORGET:
        close(fd);
        return 0;
      default:
        return -ENOSYS;
    }
  }

  void Complete(int64_t size) {
    uint32_t written = 0;
    if (chain_.writable_count > 0) {
      auto& out = *static_cast<fuse_out_header*>(chain_.writable[0].iov_base);
      written = static_cast<uint32_t>(sizeof(out)) + static_cast<uint32_t>(size < 0 ? 0 : size);
      out = {written, static_cast<int32_t>(size < 0 ? size : 0), chain_.header().unique};
    }
    ring_->used[used_ % Ring::kSize] = {head_, written};
    Release(&ring_->used_index, ++used_);
    if (static_cast<uint16_t>(used_ - signalled_) >= kSignalBatch) Signal();
  }

  void Signal() {
    if (used_ == signalled_) return;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool wanted = Passed(Acquire(ring_->used_event), used_, signalled_);
    signalled_ = used_;
    if (wanted) eventfd_write(call_, 1);
  }

  const GuestRam& ram_;
  Layout* const ring_;
  const int kick_;
  const int call_;
  const int root_;
  int proc_;
  Chain chain_;
  uint16_t head_ = 0;
  uint16_t next_ = 0;
  uint16_t used_ = 0;
  uint16_t signalled_ = 0;
  uint32_t misses_ = 0;
  uint32_t waits_ = 0;
};

}  // namespace

pid_t StartFloor(const Session& session, const std::string& share) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) Fail("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const int root = open(share.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) Fail(share);
  std::vector<std::thread> threads;
  for (size_t i = 1; i < session.rings().size(); i++)
    threads.emplace_back(
        [&session, i, root] { Server(session.ram(), session.rings()[i].get(), root).Serve(); });
  for (std::thread& thread : threads) thread.join();
  _exit(1);
}

}  // namespace viewfsd::bench
