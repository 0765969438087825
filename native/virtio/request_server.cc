// SPDX-License-Identifier: Apache-2.0
#include "virtio/request_server.h"

#include <linux/fuse.h>
#include <sched.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "memory/guarded_access.h"
#include "util/coarse_clock.h"
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
    case FUSE_INTERRUPT:
    case FUSE_BATCH_FORGET:
      return true;
    default:
      return false;
  }
}

// Whether the stop of its queue waits for a request that was set aside. To a program in the guest a
// SETUPMAPPING that fails is a SIGBUS; others may be tried again.
bool OutlivesStop(const std::vector<uint8_t>& request) {
  uint32_t opcode;
  memcpy(&opcode, request.data() + 4, 4);
  return opcode == FUSE_SETUPMAPPING;
}

// How long to look for the next request before sleeping. Two misses in a row say that the other
// side is not about to send more (or shares this CPU); then the next thousand waits sleep at once.
constexpr std::chrono::microseconds kSpin{40};
constexpr uint32_t kSpinMisses = 2;
constexpr uint32_t kWaitsWithoutSpin = 1000;

// How many requests are refused before Next returns.
constexpr uint32_t kRefusals = 64;

void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
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

// Lets the ring point into the present memory table. False, with `*reason`, where it is not there.
bool RequestServer::Attach(QueueUse* use, const char** reason) {
  if (use->table != nullptr && use->generation == device_->memory().generation()) return true;
  uint64_t generation = 0;
  Snapshot table = device_->memory().Get(&generation);
  const auto is_window = [this](const Region& region) { return device_->IsWindow(region); };
  if (use->generation != generation && !use->queue->ring.Attach(*table, is_window, reason))
    return false;
  use->table = std::move(table);
  use->generation = generation;
  return true;
}

// Takes the queue for this thread, where main lets it.
bool RequestServer::Enter(QueueUse* use) {
  Queue* queue = use->queue;
  if (!queue->runnable.load(std::memory_order_relaxed)) return false;
  queue->in_use.store(true);
  if (!queue->runnable.load() || queue->broken.load()) {
    device_->Leave(queue);
    return false;
  }
  use->entered = true;
  const uint32_t start_count = queue->start_count.load();
  const bool fresh = use->start_count != start_count;
  if (fresh) {
    queue->ring.Configure(queue->size, queue->addresses, device_->event_idx(), device_->indirect());
    use->generation = 0;
    use->unsignalled = 0;
  }
  use->start_count = start_count;
  const char* reason = nullptr;
  if (!Attach(use, &reason)) {
    Break(use, reason);
    return false;
  }
  if ((fresh && !queue->ring.Resume(queue->base, &reason)) || !queue->ring.DisableKicks()) {
    Break(use, reason != nullptr ? reason : "the used ring can't be written");
    return false;
  }
  return true;
}

// Where the pool has requests of the queue, it is left when they are back: by then nothing writes
// to the guest's memory any more.
void RequestServer::Leave(QueueUse* use) {
  if (!use->entered) return;
  if (!use->queue->broken.load()) EndDeferred(use, Ended::kAll, true);
  // The ring may have turned out to be broken.
  if (!use->entered) return;
  if (!use->queue->broken.load()) Signal(use);
  LetGo(use);
}

// Leaves a queue that main wants back, once nothing is set aside that the stop waits for.
void RequestServer::GrantStop(QueueUse* use) {
  EndDeferred(use, Ended::kByStop, true);
  if (use->deferred == 0) Leave(use);
}

void RequestServer::LetGo(QueueUse* use) {
  // What has not been completed has no buffers without the table.
  if (current_ == use) {
    current_ = nullptr;
    resumed_table_.reset();
  }
  if (use->under_way > 0) return;
  use->entered = false;
  use->table.reset();
  device_->Leave(use->queue);
}

void RequestServer::Break(QueueUse* use, const char* reason) {
  EndDeferred(use, Ended::kAll, false);
  Signal(use);
  device_->Break(use->queue, reason);
  LetGo(use);
}

// Tries to make a request of this queue the current one.
RequestServer::Taken RequestServer::Take(QueueUse* use) {
  if (use->entered && !use->queue->runnable.load(std::memory_order_acquire)) {
    GrantStop(use);
    if (use->entered) return Taken::kNothing;
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
  switch (queue->ring.Pop(*use->table, &chain_, &reason)) {
    case SplitVirtqueue::PopResult::kEmpty:
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kBroken:
      Break(use, reason);
      return Taken::kNothing;
    case SplitVirtqueue::PopResult::kChain:
      break;
  }
  session_ = EnterSession(device_->sessions());
  queue->base = queue->ring.next_available();
  queue->requests.fetch_add(1, std::memory_order_relaxed);
  current_ = use;
  if (ReadRequest()) return Taken::kRequest;
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
  if (!Announces(opcode)) SignalAll();
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
    }
    if (taken == Taken::kRequest) {
      if (timeout_ms < 0 || steady_clock::now() < deadline) continue;
      SignalAll();
      return kTimedOut;
    }
    if (taken == Taken::kRefused && ++refusals < kRefusals) continue;
    port_->request.since.store(0, std::memory_order_release);
    SignalAll();
    // A ring can feed itself: with a used ring in place of the available one, or replies that go
    // there. The caller has other things to look after, too.
    if (taken == Taken::kRefused) return kTimedOut;
    if (SpinForWork()) continue;
    if (!PrepareWait()) continue;
    port_->waits.fetch_add(1, std::memory_order_relaxed);
    if (Sleep(timeout_ms) == 0) return kTimedOut;
  }
}

// Until a kick, main or the mailbox wakes the thread. 0 where nothing did in time.
int RequestServer::Sleep(int timeout_ms) {
  if (!mailbox_.Arm()) return 1;
  epoll_event events[4];
  int count;
  do count = epoll_wait(port_->epoll.get(), events, 4, timeout_ms);
  while (count < 0 && errno == EINTR);
  mailbox_.Disarm();
  return count;
}

// Whether requests are taken from a queue that this thread has. Not while a stop waits for those
// that the pool has.
bool RequestServer::Takes(const QueueUse& use) const {
  return under_way_ < kMaxUnderWay && use.queue->runnable.load(std::memory_order_relaxed);
}

// Whether there is a request that can be served now. FinishStop wakes whoever waits for that.
bool RequestServer::HasWork(const QueueUse& use) const {
  return Takes(use) && use.queue->ring.HasWork() && !(use.given_back && device_->Interrupted());
}

bool RequestServer::SpinForWork() {
  if (!may_spin_) return false;
  if (spin_misses_ >= kSpinMisses) {
    if (++waits_without_spin_ < kWaitsWithoutSpin) return false;
    waits_without_spin_ = 0;
    spin_misses_ = 0;
  }
  const auto deadline = steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; i++) {
      if (!mailbox_.empty()) {
        spin_misses_ = 0;
        return true;
      }
      for (QueueUse& use : uses_) {
        if (!use.entered) continue;
        // One with requests that were set aside, or put off, may have to wait for them.
        const bool waits = use.deferred > 0 || use.under_way > 0;
        if (!waits && !use.queue->runnable.load(std::memory_order_relaxed)) return true;
        if (HasWork(use)) {
          spin_misses_ = 0;
          port_->spin_hits.fetch_add(1, std::memory_order_relaxed);
          return true;
        }
      }
      Relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  spin_misses_++;
  return false;
}

// Lets go of everything before a sleep: a stop needs no hand-over then, and an old memory table can
// be unmapped. False where a request came in meanwhile.
bool RequestServer::PrepareWait() {
  for (QueueUse& use : uses_) {
    if (!use.entered || use.queue->broken.load()) continue;
    if (!use.queue->ring.EnableKicks()) {
      Break(&use, "the used ring can't be written");
      continue;
    }
    if (HasWork(use)) {
      use.queue->ring.DisableKicks();
      return false;
    }
  }
  // A queue with requests that were set aside stays: their replies need the ring as it is.
  for (QueueUse& use : uses_)
    if (use.deferred == 0 && use.under_way == 0) Leave(&use);
  return true;
}

void RequestServer::Signal(QueueUse* use) {
  if (use->unsignalled == 0) return;
  use->unsignalled = 0;
  if (!use->queue->ring.ShouldSignal()) return;
  use->queue->signals.fetch_add(1, std::memory_order_relaxed);
  // Main may exchange the descriptor at any time; with the lock held, no completion goes to an old
  // one afterwards.
  const std::lock_guard lock(use->queue->mutex);
  if (use->queue->call.valid()) SignalEventFd(use->queue->call.get());
}

bool RequestServer::Waits() const {
  return std::any_of(uses_.begin(), uses_.end(),
                     [](const QueueUse& use) { return use.unsignalled > 0; });
}

void RequestServer::SignalAll() {
  for (QueueUse& use : uses_) Signal(&use);
}

void RequestServer::Complete(uint32_t written) {
  NoteLatency();
  QueueUse* use = current_;
  current_ = nullptr;
  resumed_table_.reset();
  Finish(use, chain_.head, written);
}

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

// One that was current before, and had no payload.
void RequestServer::MakeCurrent(QueueUse* use, uint16_t head, const std::vector<uint8_t>& request,
                                const GuestBuffers& reply, Snapshot table, Timing timing) {
  current_ = use;
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
  Finish(deferred.use, deferred.head, written ? kOutHeader : 0);
  Signal(deferred.use);
}

void RequestServer::Finish(QueueUse* use, uint16_t head, uint32_t written) {
  if (!use->queue->ring.Push(head, written)) {
    Break(use, "the used ring can't be written");
    return;
  }
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
  current_->given_back = true;
  current_ = nullptr;
  queue->ring.Unpop();
  queue->base = queue->ring.next_available();
  queue->requests.fetch_sub(1, std::memory_order_relaxed);
  return 0;
}

// Writes the reply's header. False where the guest's buffer can't be reached.
bool RequestServer::PutHeader(int error, uint64_t body_size) {
  uint64_t unique;
  memcpy(&unique, request_ + offsetof(fuse_in_header, unique), sizeof(unique));
  return WriteReplyHeader(chain_.WritableBuffers(), unique, error, body_size);
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
  if (!again && InterruptPutOff(request)) {
    port_->fuse.OfOpcode(FUSE_INTERRUPT).Add();
    NoReply();
    return Served::kYes;
  }
  if (!again && port_->latencies.Due(request.header.opcode)) timing_ = {Latencies::Now(), true};
  const Answer answer =
      plane_->Serve(request, reply_ + kOutHeader, kReplyBytes - kOutHeader, again);
  switch (answer.kind) {
    case Answer::Kind::kAsk:
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
  return answer.value == -ENFILE ? Served::kShortage : Served::kYes;
}

}  // namespace viewfsd
