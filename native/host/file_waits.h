// SPDX-License-Identifier: Apache-2.0
// Whether reading and writing an open file may have to wait: asked each time by RWF_NOWAIT where
// the file has that, else learnt from its refusal (EOPNOTSUPP), so that only one is paid for.
#ifndef VIEWFSD_FILE_WAITS_H_
#define VIEWFSD_FILE_WAITS_H_

#include <atomic>
#include <cstdint>

namespace viewfsd {

enum class Wait : uint8_t {
  // RWF_NOWAIT tells; so far nothing was refused.
  kAsk,
  // The file is memory (tmpfs).
  kNever,
  // Goes to the page cache of a local file system, which waits only where too much is to be written
  // back.
  kSeldom,
  // Nobody can tell.
  kMay,
};

// Of one open file. Any thread may ask and learn.
class FileWaits {
 public:
  Wait reads() const { return reads_.load(std::memory_order_relaxed); }
  Wait writes() const { return writes_.load(std::memory_order_relaxed); }

  // A read, or write, with RWF_NOWAIT of this descriptor was refused.
  void LearnReads(int fd) { reads_.store(Judge(fd, Wait::kMay), std::memory_order_relaxed); }
  void LearnWrites(int fd) { writes_.store(Judge(fd, Wait::kSeldom), std::memory_order_relaxed); }

 private:
  // `local`: what holds for a file in the page cache of a local file system.
  static Wait Judge(int fd, Wait local);

  std::atomic<Wait> reads_{Wait::kAsk};
  std::atomic<Wait> writes_{Wait::kAsk};
};

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_WAITS_H_
