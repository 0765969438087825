// SPDX-License-Identifier: Apache-2.0
#include "virtio/request_server.h"

#include <linux/fuse.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "host/credentials.h"
#include "host/repeated.h"
#include "memory/guarded_access.h"
#include "session/present_request.h"
#include "util/coarse_clock.h"
#include "util/probes.h"
#include "util/signal_eventfd.h"

namespace viewfsd {

using std::chrono::steady_clock;

namespace {

constexpr size_t kInHeader = sizeof(fuse_in_header);
constexpr size_t kOutHeader = sizeof(fuse_out_header);

// A guest that gets one interrupt per batch of 32 waits too long for the first; one per request
// costs too much.
constexpr uint32_t kSignalBatch = 8;

// Whether a request of this kind announces finished work by itself, should it be about to block.
// These come in batches, and mostly need not wait for anything.
bool Announces(uint32_t opcode) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_FORGET:
    case FUSE_GETATTR:
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_OPENDIR:
    case FUSE_RELEASEDIR:
    case FUSE_SETATTR:
    case FUSE_CREATE:
    case kTmpfile:
    case FUSE_MKDIR:
    case FUSE_MKNOD:
    case FUSE_SYMLINK:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_INTERRUPT:
    case FUSE_BATCH_FORGET:
      return true;
    default:
      return false;
  }
}

// How many requests are refused before Next returns.
constexpr uint32_t kRefusals = 64;

uint64_t Unique(const uint8_t* request) {
  uint64_t unique;
  memcpy(&unique, request + offsetof(fuse_in_header, unique), sizeof(unique));
  return unique;
}

uint64_t NodeidOf(const uint8_t* request) {
  uint64_t nodeid;
  memcpy(&nodeid, request + offsetof(fuse_in_header, nodeid), sizeof(nodeid));
  return nodeid;
}

}  // namespace

RequestServer::RequestServer(std::shared_ptr<Device> device, uint32_t worker,
                             SharedDirectory* directory, uint8_t* request, uint8_t* reply)
    : device_(std::move(device)),
      worker_(worker),
      port_(device_->workers()[worker].get()),
      directory_(directory),
      request_(request),
      reply_(reply),
      reads_(port_->reads.get()),
      mailbox_(port_->control.get()) {
  InstallFaultHandlers();
  RequestPool* pool = device_->pool().enabled() ? &device_->pool() : nullptr;
  if (directory != nullptr) plane_.emplace(*directory, port_->fuse, pool);
  for (const uint32_t index : port_->queues)
    uses_.push_back({device_->queues()[index].get(), index});
  cpu_set_t cpus;
  may_spin_ = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

RequestServer::~RequestServer() {
  while (under_way_ > 0) {
    if (collected_.empty()) Sleep(-1);
    Collect();
    if (current_ != nullptr) ReplyError(EAGAIN);
  }
  for (QueueUse& use : uses_) Leave(&use);
  LeaveSession(device_->sessions());
  if (of_thread == this) of_thread = nullptr;
}

// Tries to make a request of this queue the current one.
RequestServer::Taken RequestServer::Take(QueueUse* use) {
  if (use->entered && !use->queue->runnable.load(std::memory_order_acquire)) {
    GrantStop(use);
    if (use->entered && use->left.empty()) return Taken::kNothing;
  }
  if (!use->entered && !Enter(use)) return Taken::kNothing;
  if (!Takes(*use)) return Taken::kNothing;
  if (use->given_back && device_->Interrupted()) return Taken::kNothing;
  use->given_back = false;
  Queue* queue = use->queue;
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return Taken::kNothing;
  }
  const bool again = !use->left.empty();
  bool deadly = false;
  SplitVirtqueue::PopResult popped;
  if (again) {
    const QueueJournal::Left left = use->left.front();
    use->left.pop_front();
    deadly = left.deadly;
    popped = queue->ring.PopAgain(left.head, *use->table, &chain_, &reason);
  } else {
    popped = queue->ring.Pop(*use->table, &chain_, &reason);
  }
  switch (popped) {
    case SplitVirtqueue::PopResult::kEmpty:
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kBroken:
      Break(use, reason);
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kChain:
      break;
  }
  if (!again) queue->journal.Take(chain_.head);
  repeated_ = again;
  SetRepeated(again ? queue->journal.begun(chain_.head) : kNotRepeated);
  SetPresentRequest(queue->journal.RequestOf(chain_.head));
  session_ = EnterSession(device_->sessions());
  queue->base = queue->ring.next_available();
  queue->requests.fetch_add(1, std::memory_order_relaxed);
  current_ = use;
  if (ReadRequest()) {
    if (!deadly && !device_->refuses()) return Taken::kRequest;
    if (deadly) device_->NoteDeadly({request_, request_ + request_size_});
    ReplyError(EIO);
  }
  queue->refused.fetch_add(1, std::memory_order_relaxed);
  return Taken::kRefused;
}

// Copies the current request in. False where it was refused and completed.
bool RequestServer::ReadRequest() {
  timing_ = {};
  const uint64_t size = chain_.readable_size;
  const auto refuse = [this](int error) {
    if (chain_.writable_size >= kOutHeader)
      ReplyError(error);
    else
      Complete(0);
    return false;
  };
  memset(request_, 0, kInHeader);
  if (size < kInHeader) return refuse(EINVAL);
  const size_t first = std::min<uint64_t>(size, kWriteHeaders);
  const GuestBuffers readable = chain_.ReadableBuffers();
  if (!readable.CopyOut(0, request_, first)) {
    memset(request_, 0, kInHeader);
    return refuse(EFAULT);
  }
  uint32_t opcode;
  memcpy(&opcode, request_ + 4, 4);
  // Room for part of a header: nothing that could be answered.
  if (chain_.writable_size > 0 && chain_.writable_size < kOutHeader) return refuse(EINVAL);
  request_size_ = static_cast<uint32_t>(first);
  payload_size_ = 0;
  if (opcode == FUSE_WRITE) {
    payload_size_ = static_cast<uint32_t>(size - first);
  } else if (size > kRequestBytes) {
    return refuse(ENOMEM);
  } else if (size > first) {
    if (!readable.CopyOut(first, request_ + first, size - first)) return refuse(EFAULT);
    request_size_ = static_cast<uint32_t>(size);
  }
  of_thread = this;
  ShowProgress(opcode);
  VIEWFSD_PROBE4(request_begin, worker_, opcode, Unique(request_), NodeidOf(request_));
  if (!Announces(opcode)) Flush();
  return true;
}

void RequestServer::ShowProgress(uint32_t opcode) {
  RequestInProgress& shown = port_->request;
  uint64_t nodeid;
  memcpy(&nodeid, request_ + 16, 8);
  shown.number.fetch_add(1, std::memory_order_relaxed);
  shown.opcode.store(opcode, std::memory_order_relaxed);
  shown.nodeid.store(nodeid, std::memory_order_relaxed);
  shown.since.store(CoarseNow(), std::memory_order_release);
}

// The current request takes its time, so that the clock costs next to nothing.
void RequestServer::TimeEachTime() {
  fuse_in_header header;
  memcpy(&header, request_, sizeof(header));
  if (timing_.due) port_->latencies.Postpone(header.opcode);
  if (timing_.began == 0) timing_.began = Latencies::Now();
  timing_.due = false;
}

// The current request is about to be completed.
void RequestServer::NoteLatency() {
  if (timing_.began == 0) return;
  fuse_in_header header;
  memcpy(&header, request_, sizeof(header));
  const int64_t took = Latencies::Now() - timing_.began;
  uint32_t requests = 1;
  if (timing_.due)
    requests = port_->latencies.AddDue(header.opcode, took);
  else
    port_->latencies.Add(header.opcode, took);
  port_->hot.Add(header.opcode, header.nodeid, requests);
}

int RequestServer::Next(int timeout_ms) {
  port_->request.since.store(0, std::memory_order_release);
  if (current_ != nullptr) ReplyError(EIO);
  uint32_t refusals = 0;
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(std::max(timeout_ms, 0));
  for (;;) {
    if (const int collected = Collect(); collected != kTimedOut) return collected;
    if (device_->shutting_down()) {
      for (QueueUse& use : uses_) Leave(&use);
      if (under_way_ == 0) return kStopped;
      Sleep(-1);
      continue;
    }
    // A guest can fill a queue faster than it is emptied, so after each request, refused or not, a
    // stop of any queue is granted and shutdown is seen.
    for (QueueUse& use : uses_)
      if (use.entered && !use.queue->runnable.load(std::memory_order_acquire)) GrantStop(&use);
    // In turns, so that neither queue keeps the other waiting for more than one request.
    Taken taken = Taken::kNothing;
    for (size_t i = 0; i < uses_.size() && taken == Taken::kNothing; i++) {
      const size_t place = (turn_ + i) % uses_.size();
      taken = Take(&uses_[place]);
      if (taken != Taken::kNothing) turn_ = place + 1;
      if (taken != Taken::kRequest) continue;
      const Served served = ServeNatively(false);
      if (served == Served::kNot || served == Served::kWaits)
        return static_cast<int>(uses_[place].index);
      if (served == Served::kShortage) return kShortage;
      if (served == Served::kOwnerRefused) return kOwnerRefused;
    }
    if (taken == Taken::kRequest) {
      if (timeout_ms < 0 || steady_clock::now() < deadline) continue;
      Flush();
      return kTimedOut;
    }
    if (taken == Taken::kRefused && ++refusals < kRefusals) continue;
    port_->request.since.store(0, std::memory_order_release);
    Flush();
    // A ring can feed itself: with a used ring in place of the available one, or replies that go
    // there. The caller has other things to look after, too.
    if (taken == Taken::kRefused) return kTimedOut;
    if (SpinForWork()) continue;
    if (!PrepareWait()) continue;
    port_->waits.fetch_add(1, std::memory_order_relaxed);
    VIEWFSD_PROBE1(wait, worker_);
    if (Sleep(timeout_ms) == 0) return kTimedOut;
  }
}

void RequestServer::Signal(QueueUse* use) {
  if (use->unsignalled == 0) return;
  use->unsignalled = 0;
  if (!use->queue->ring.ShouldSignal()) return;
  use->queue->signals.fetch_add(1, std::memory_order_relaxed);
  VIEWFSD_PROBE1(signal, use->index);
  // Main may exchange the descriptor at any time; with the lock held, no completion goes to an old
  // one afterwards.
  const std::lock_guard lock(use->queue->mutex);
  if (use->queue->call.valid()) SignalEventFd(use->queue->call.get());
}

bool RequestServer::Waits() const {
  if (reads_ != nullptr && reads_->has_unsubmitted()) return true;
  return std::any_of(uses_.begin(), uses_.end(),
                     [](const QueueUse& use) { return use.unsignalled > 0; });
}

void RequestServer::Flush() {
  for (QueueUse& use : uses_) Signal(&use);
  if (reads_ != nullptr && reads_->has_unsubmitted()) reads_->Submit();
}

void RequestServer::Complete(uint32_t written) {
  NoteLatency();
  QueueUse* use = current_;
  MarkBuffers(chain_.WritableBuffers(), resumed_table_ != nullptr ? *resumed_table_ : *use->table);
  current_ = nullptr;
  resumed_table_.reset();
  Finish(use, chain_.head, written, Unique(request_));
}

// One that was current before, and had no payload.
void RequestServer::MakeCurrent(QueueUse* use, uint16_t head, const std::vector<uint8_t>& request,
                                const GuestBuffers& reply, Snapshot table, Timing timing) {
  current_ = use;
  repeated_ = false;
  SetRepeated(kNotRepeated);
  SetPresentRequest(use->queue->journal.RequestOf(head));
  timing_ = timing;
  resumed_table_ = std::move(table);
  chain_.head = head;
  chain_.readable_count = 0;
  chain_.readable_size = 0;
  chain_.writable_count = reply.count;
  chain_.writable_size = reply.size;
  std::copy(reply.pieces, reply.pieces + reply.count, chain_.writable);
  std::copy(request.begin(), request.end(), request_);
  request_size_ = static_cast<uint32_t>(request.size());
  payload_size_ = 0;
  session_ = EnterSession(device_->sessions());
  uint32_t opcode;
  memcpy(&opcode, request_ + 4, 4);
  ShowProgress(opcode);
}

void RequestServer::Finish(QueueUse* use, uint16_t head, uint32_t written, uint64_t unique) {
  VIEWFSD_PROBE3(request_end, worker_, unique, written);
  QueueJournal& journal = use->queue->journal;
  journal.Answer(head, written);
  journal.Push(head);
  const bool pushed = use->queue->ring.Push(head, written);
  MarkRing(*use);
  if (!pushed) {
    Break(use, "the used ring can't be written");
    return;
  }
  journal.Done(head, use->queue->ring.next_used());
  if (++use->unsignalled >= kSignalBatch) Signal(use);
}

int64_t RequestServer::Reply(uint64_t body_size) {
  if (current_ == nullptr) return -EINVAL;
  const uint64_t size = kOutHeader + body_size;
  if (size > kReplyBytes || size > chain_.writable_size) {
    ReplyError(EIO);
    return -ERANGE;
  }
  fuse_out_header header = {static_cast<uint32_t>(size), 0, 0};
  memcpy(&header.unique, request_ + 8, 8);
  memcpy(reply_, &header, kOutHeader);
  if (!chain_.WritableBuffers().CopyIn(0, reply_, size)) {
    ReplyError(EFAULT);
    return -EFAULT;
  }
  Complete(static_cast<uint32_t>(size));
  return 0;
}

int64_t RequestServer::ReplyError(int error) {
  if (current_ == nullptr) return -EINVAL;
  if (chain_.writable_size < kOutHeader) return NoReply();
  Complete(PutHeader(-error, 0) ? kOutHeader : 0);
  return 0;
}

int64_t RequestServer::NoReply() {
  if (current_ == nullptr) return -EINVAL;
  Complete(0);
  return 0;
}

int64_t RequestServer::BeginSession() {
  if (current_ == nullptr) return -EINVAL;
  device_->BeginSession();
  session_ = EnterSession(device_->sessions());
  return 0;
}

int64_t RequestServer::GiveBack() {
  if (current_ == nullptr) return -EINVAL;
  // It is not the last one that came from the ring: answered as the stop answers those set aside.
  if (resumed_table_ != nullptr) return ReplyError(EAGAIN);
  Queue* queue = current_->queue;
  if (repeated_) return ReplyError(EAGAIN);
  queue->journal.GiveBack(chain_.head);
  current_->given_back = true;
  current_ = nullptr;
  queue->ring.Unpop();
  queue->base = queue->ring.next_available();
  queue->requests.fetch_sub(1, std::memory_order_relaxed);
  return 0;
}

// Writes the reply's header. False where the guest's buffer can't be reached.
bool RequestServer::PutHeader(int error, uint64_t body_size) {
  return WriteReplyHeader(chain_.WritableBuffers(), Unique(request_), error, body_size);
}

RequestServer::Served RequestServer::NoticeOf(int64_t answer) {
  if (answer == -ENFILE) return Served::kShortage;
  return answer == -EPERM && HasRefusedOwner() ? Served::kOwnerRefused : Served::kYes;
}

// Serves the current request where the data plane may; else it is the control plane's.
RequestServer::Served RequestServer::ServeNatively(bool again) {
  FuseRequest request;
  if (!plane_.has_value() || !DecodeHeader(request_, request_size_, payload_size_, &request)) {
    TimeEachTime();
    return Served::kNot;
  }
  request.readable = chain_.ReadableBuffers();
  request.payload_offset = request_size_;
  request.payload_size = payload_size_;
  request.writable = chain_.WritableBuffers();
  request.repeated = repeated_;
  request.end_before = current_->queue->journal.end_before(chain_.head);
  if (!again && InterruptPutOff(request)) {
    port_->fuse.OfOpcode(FUSE_INTERRUPT).Add();
    NoReply();
    return Served::kYes;
  }
  if (!again && DataPlane::IsOnce(request.header.opcode))
    current_->queue->journal.Begin(chain_.head, RealtimeNow());
  if (!again && port_->latencies.Due(request.header.opcode)) timing_ = {Latencies::Now(), true};
  const Answer answer =
      plane_->Serve(request, reply_ + kOutHeader, kReplyBytes - kOutHeader, again);
  switch (answer.kind) {
    case Answer::Kind::kAsk:
      current_->queue->journal.Begin(chain_.head, RealtimeNow());
      TimeEachTime();
      return Served::kNot;
    case Answer::Kind::kWait:
      TimeEachTime();
      return Served::kWaits;
    case Answer::Kind::kPutOff:
      TimeEachTime();
      PutOff(request, answer.moved);
      return Served::kYes;
    case Answer::Kind::kInterrupted:
      TimeEachTime();
      GiveBack();
      return Served::kYes;
    case Answer::Kind::kSilent:
      NoReply();
      break;
    case Answer::Kind::kBody:
      if (answer.value < 0)
        ReplyError(static_cast<int>(-answer.value));
      else
        Reply(static_cast<uint64_t>(answer.value));
      break;
    case Answer::Kind::kInPlace:
      // Last, so that a guest never sees a good header over missing data.
      if (const auto size = static_cast<uint64_t>(answer.value); PutHeader(0, size))
        Complete(static_cast<uint32_t>(kOutHeader + size));
      else
        ReplyError(EFAULT);
      break;
  }
  plane_->AfterReply();
  NoteTime(request.header.nodeid);
  return NoticeOf(answer.value);
}

}  // namespace viewfsd
