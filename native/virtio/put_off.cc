// SPDX-License-Identifier: Apache-2.0
// RequestServer's requests that the pool serves: over to it, and back into the ring.
#include <algorithm>
#include <cerrno>

#include "util/coarse_clock.h"
#include "virtio/request_server.h"

namespace viewfsd {
namespace {

// A request that took that long, in nanoseconds, has waited for the host, not for a CPU.
constexpr int64_t kSlow = 200'000'000;

GuestBuffers Copy(const GuestBuffers& buffers, std::vector<iovec>* pieces) {
  pieces->assign(buffers.pieces, buffers.pieces + buffers.count);
  return {pieces->data(), pieces->size(), buffers.size};
}

}  // namespace

// Hands the current request to the kernel, where that can serve it, or to the pool.
void RequestServer::PutOff(const FuseRequest& request, uint64_t moved) {
  auto put_off = std::make_unique<PutOffRequest>();
  put_off->bytes.assign(request_, request_ + request_size_);
  put_off->request = request;
  put_off->request.body = put_off->bytes.data() + (request.body - request_);
  put_off->request.payload_done = moved;
  put_off->request.readable = Copy(request.readable, &put_off->readable);
  put_off->request.writable = Copy(request.writable, &put_off->writable);
  put_off->table = resumed_table_ != nullptr ? std::move(resumed_table_) : current_->table;
  put_off->directory = directory_;
  put_off->policy = plane_->policy();
  put_off->sessions = &device_->sessions();
  put_off->session = session_;
  put_off->order = DataPlane::OrderOf(request);
  put_off->worker = worker_;
  put_off->mailbox = &mailbox_;
  put_off->use = current_;
  put_off->head = chain_.head;
  put_off->number = current_->queue->journal.RequestOf(chain_.head);
  if (repeated_) put_off->begun = current_->queue->journal.begun(chain_.head);
  put_off->began = timing_.began;
  current_->under_way++;
  under_way_++;
  current_ = nullptr;
  resumed_table_.reset();
  port_->request.since.store(0, std::memory_order_release);
  std::optional<PendingRead> read = plane_->TakePendingRead();
  if (read.has_value() && reads_ != nullptr && reads_->Add(put_off, *read)) {
    if (reads_->is_full_batch()) reads_->Submit();
    return;
  }
  Pool(std::move(put_off));
}

void RequestServer::Pool(PutOffRef request) {
  port_->pooled.fetch_add(1, std::memory_order_relaxed);
  device_->pool().Submit(std::move(request));
}

// Completes what the pool and the kernel have served. kTimedOut where that is all; kShortage or
// kOwnerRefused as Next has them, or the queue of one that is now current, because something on the
// host is in its way: then there may be more.
int RequestServer::Collect() {
  if (!mailbox_.empty())
    for (PutOffRef& served : mailbox_.Take()) collected_.push_back(std::move(served));
  if (reads_ != nullptr)
    port_->async_reads.fetch_add(reads_->Take(collected_), std::memory_order_relaxed);
  while (!collected_.empty()) {
    PutOffRef served = std::move(collected_.front());
    collected_.pop_front();
    if (served->answer.kind == Answer::Kind::kPutOff) {
      Pool(std::move(served));
      continue;
    }
    if (const int result = Complete(*served); result != kTimedOut) return result;
  }
  return kTimedOut;
}

int RequestServer::Complete(PutOffRequest& served) {
  QueueUse* use = static_cast<QueueUse*>(served.use);
  use->under_way--;
  under_way_--;
  MarkBuffers(served.request.writable, *served.table);
  // A broken ring takes no more.
  if (use->queue->broken.load()) return kTimedOut;
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return kTimedOut;
  }
  Answer& answer = served.answer;
  if (answer.kind == Answer::Kind::kWait) {
    const bool old = served.session != device_->sessions().present();
    if (!old && use->queue->runnable.load() && !device_->shutting_down()) {
      MakeCurrent(use, served.head, served.bytes, served.request.writable, std::move(served.table),
                  {served.began, false});
      return static_cast<int>(use->index);
    }
    answer = {Answer::Kind::kInPlace, old ? -ENOTCONN : -EAGAIN};
  }
  const fuse_in_header& header = served.request.header;
  plane_->Count(header.opcode, answer);
  port_->latencies.Add(header.opcode, Latencies::Now() - served.began);
  port_->hot.Add(header.opcode, header.nodeid, 1);
  const uint32_t written = Answered(served);
  MarkBuffers(served.request.writable, *served.table);
  Finish(use, served.head, written, header.unique);
  const Served notice = NoticeOf(answer.value);
  if (notice == Served::kYes) return kTimedOut;
  std::copy_n(served.bytes.begin(), sizeof(fuse_in_header), request_);
  return notice == Served::kShortage ? kShortage : kOwnerRefused;
}

// Writes the header of a reply whose body is there. Returns the bytes of the whole.
uint32_t RequestServer::Answered(const PutOffRequest& served) {
  if (served.answer.kind == Answer::Kind::kSilent) return 0;
  const int64_t value = served.answer.value;
  const uint64_t body = value < 0 ? 0 : static_cast<uint64_t>(value);
  const int32_t error = value < 0 ? static_cast<int32_t>(value) : 0;
  const bool written =
      WriteReplyHeader(served.request.writable, served.request.header.unique, error, body);
  return written ? static_cast<uint32_t>(sizeof(fuse_out_header) + body) : 0;
}

// The current request waits in the pool, where it has not been begun: it ends. True where that was
// an INTERRUPT's.
bool RequestServer::InterruptPutOff(const FuseRequest& request) {
  if (request.header.opcode != FUSE_INTERRUPT || request.body_size < sizeof(fuse_interrupt_in))
    return false;
  const uint64_t unique = request.In<fuse_interrupt_in>().unique;
  return device_->pool().Interrupt(device_->sessions(), session_, unique);
}

// Whether the last request took longer than memory does: the next ones are put off then.
void RequestServer::NoteTime(uint64_t nodeid) {
  if (CoarseNow() - port_->request.since.load(std::memory_order_relaxed) >= kSlow)
    directory_->NoteSlow(nodeid);
}

}  // namespace viewfsd
