// SPDX-License-Identifier: Apache-2.0
// A FUSE request as the data plane gets it, and what becomes of it. Knows no ring and no
// JavaScript.
#ifndef VIEWFSD_FUSE_REQUEST_H_
#define VIEWFSD_FUSE_REQUEST_H_

#include <linux/fuse.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "memory/guest_buffers.h"

namespace viewfsd {

// Of FUSE 7.37 and 7.45, newer than linux/fuse.h of some build machines.
constexpr uint32_t kTmpfile = 51;
constexpr uint32_t kCopyFileRange64 = 53;

// What of a WRITE is not data.
constexpr uint32_t kWriteHeaders = sizeof(fuse_in_header) + sizeof(fuse_write_in);

// What of one inode's requests waits for what: changes for changes that came before them, and what
// flushes or closes the file for those, too. Nothing waits for what only flushes or closes.
struct Order {
  // 0 for a request that waits for none.
  uint64_t nodeid = 0;
  bool changes = false;
};

// Borrowed: everything that it points to outlives the serving.
struct FuseRequest {
  fuse_in_header header = {};
  // The operation's own bytes, a copy: what follows the header.
  const uint8_t* body = nullptr;
  uint32_t body_size = 0;
  // All that the guest lets us read, of which [payload_offset, payload_offset + payload_size) has
  // not been copied: the data of a WRITE.
  GuestBuffers readable;
  uint64_t payload_offset = 0;
  uint64_t payload_size = 0;
  // How much of it has been written before the request was put off.
  uint64_t payload_done = 0;
  // A server that has ended may have carried it out.
  bool repeated = false;
  // Of the journal, where there is one: see JournalEntry.
  std::atomic<int64_t>* end_before = nullptr;
  // Where the reply goes, struct fuse_out_header first. Empty where none is wanted.
  GuestBuffers writable;

  // The operation's struct; `body_size` must have been checked.
  template <typename Struct>
  Struct In() const {
    Struct in;
    memcpy(&in, body, sizeof(in));
    return in;
  }
};

// Decodes the header of a request that stands in `bytes`; `payload_size` bytes besides have not
// been copied. False where its lengths can't be right. Fills `header`, `body` and `body_size`.
bool DecodeHeader(const uint8_t* bytes, uint32_t size, uint64_t payload_size, FuseRequest* request);

// Writes the header of the reply to request `unique`, which has `body_size` bytes behind it;
// `error`: 0 or -errno. False where the guest's buffer can't be reached.
bool WriteReplyHeader(const GuestBuffers& to, uint64_t unique, int error, uint64_t body_size);

struct Answer {
  enum class Kind {
    // Not for the data plane: nothing has been done.
    kAsk,
    // Something on the host that passes is in the way: nothing has been done, and the request can
    // be served again later.
    kWait,
    // The stop of the request's queue interrupted it. It shall stay in the queue, and can be done
    // again from the start.
    kInterrupted,
    // Done, and FUSE wants no reply.
    kSilent,
    // `value`: -errno, or the bytes of the reply's body, which stands in the scratch buffer.
    kBody,
    // `value`: -errno, or the bytes of the reply's body, which is in the guest's buffers already.
    kInPlace,
    // It may have to wait: to be served by another thread. `moved` counts as payload_done then.
    kPutOff,
  };
  Kind kind;
  int64_t value;
  // Bytes of the file that have been read or written, ranges that have been mapped for writing, or
  // ranges that have been unmapped.
  uint64_t moved = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_REQUEST_H_
