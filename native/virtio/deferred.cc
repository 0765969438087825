// SPDX-License-Identifier: Apache-2.0
// RequestServer's requests that wait for somebody on the host: set aside, served again from the
// start, and ended by the stop of their queue.
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fuse/request.h"
#include "virtio/request_server.h"

namespace viewfsd {
namespace {

constexpr size_t kOutHeader = sizeof(fuse_out_header);

// Whether the stop of its queue waits for a request that was set aside. To a program in the guest a
// SETUPMAPPING that fails is a SIGBUS; others may be tried again.
bool OutlivesStop(const std::vector<uint8_t>& request) {
  uint32_t opcode;
  memcpy(&opcode, request.data() + 4, 4);
  return opcode == FUSE_SETUPMAPPING;
}

}  // namespace

int64_t RequestServer::Defer() {
  if (current_ == nullptr || chain_.writable_size < kOutHeader || payload_size_ > 0) return -EINVAL;
  if (deferred_.size() >= kMaxDeferred || request_size_ > kDeferredRequest) return -ENOLCK;
  Deferred deferred = {current_, chain_.head, {request_, request_ + request_size_}, {}, 0,
                       {},       timing_};
  deferred.table = resumed_table_ != nullptr ? std::move(resumed_table_) : current_->table;
  deferred.reply.resize(kDeferredReply);
  const int count =
      chain_.WritableBuffers().Slice(0, std::min<uint64_t>(chain_.writable_size, kDeferredReply),
                                     deferred.reply.data(), &deferred.reply_size);
  deferred.reply.resize(static_cast<size_t>(count));
  current_->queue->journal.Wait(chain_.head);
  const uint32_t number = next_deferred_++;
  deferred_.emplace(number, std::move(deferred));
  current_->deferred++;
  // Completions before it must not wait for it.
  Signal(current_);
  current_ = nullptr;
  return number;
}

int64_t RequestServer::Resume(uint32_t number) {
  if (current_ != nullptr) return -EINVAL;
  const auto found = deferred_.find(number);
  if (found == deferred_.end()) return -ENOENT;
  QueueUse* use = found->second.use;
  // The queue may have waited for long, and its ring have been moved meanwhile.
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return -ENOENT;
  }
  Deferred deferred = std::move(found->second);
  deferred_.erase(found);
  use->deferred--;
  MakeCurrent(use, deferred.head, deferred.request,
              {deferred.reply.data(), deferred.reply.size(), deferred.reply_size},
              std::move(deferred.table), deferred.timing);
  return 0;
}

// A queue's requests that were set aside: EAGAIN, or forgotten where the ring is broken.
void RequestServer::EndDeferred(QueueUse* use, Ended which, bool answer) {
  std::vector<Deferred> ended;
  for (auto deferred = deferred_.begin(); deferred != deferred_.end();) {
    if (deferred->second.use != use ||
        (which == Ended::kByStop && OutlivesStop(deferred->second.request))) {
      ++deferred;
      continue;
    }
    ended.push_back(std::move(deferred->second));
    deferred = deferred_.erase(deferred);
  }
  use->deferred -= static_cast<uint32_t>(ended.size());
  // The ring breaks where it can't be answered on.
  for (size_t i = 0; answer && use->entered && i < ended.size(); i++)
    AnswerDeferred(ended[i], EAGAIN);
}

void RequestServer::AnswerDeferred(const Deferred& deferred, int error) {
  const char* reason = nullptr;
  if (!Attach(deferred.use, &reason)) {
    Break(deferred.use, reason);
    return;
  }
  uint64_t unique;
  memcpy(&unique, deferred.request.data() + offsetof(fuse_in_header, unique), sizeof(unique));
  const GuestBuffers buffers = {deferred.reply.data(), deferred.reply.size(), deferred.reply_size};
  const bool written = WriteReplyHeader(buffers, unique, -error, 0);
  MarkBuffers(buffers, *deferred.table);
  Finish(deferred.use, deferred.head, written ? kOutHeader : 0, unique);
  Signal(deferred.use);
}

}  // namespace viewfsd
