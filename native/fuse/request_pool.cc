// SPDX-License-Identifier: Apache-2.0
#include "fuse/request_pool.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>

#include "fuse/data_plane.h"
#include "host/credentials.h"
#include "session/present_request.h"
#include "util/coarse_clock.h"
#include "util/signal_eventfd.h"

namespace viewfsd {

void Mailbox::Put(PutOffRef request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(std::move(request));
  filled_.store(true);
  // With the lock held: the owner may be gone as soon as it has taken the request.
  if (armed_.exchange(false)) SignalEventFd(wakeup_);
}

bool Mailbox::Arm() {
  armed_.store(true);
  if (!filled_.load()) return true;
  Disarm();
  return false;
}

std::vector<PutOffRef> Mailbox::Take() {
  const std::lock_guard lock(mutex_);
  filled_.store(false, std::memory_order_relaxed);
  return std::exchange(requests_, {});
}

PooledInProgress PooledInProgress::Of(const PutOffRequest& request) {
  static std::atomic<uint64_t> next_number{1};
  const fuse_in_header& header = request.request.header;
  return {next_number.fetch_add(1, std::memory_order_relaxed), request.worker, header.opcode,
          header.nodeid, CoarseNow()};
}

// Shared by the pool and its threads.
struct RequestPool::State : std::enable_shared_from_this<State> {
  explicit State(size_t most) : limit(most) {}

  const size_t limit;
  // How many chains there are, for a look without the lock.
  std::atomic<size_t> changing{0};

  std::mutex mutex;
  std::condition_variable wake;
  // The rest is guarded by `mutex`.
  std::deque<PutOffRef> ready;
  // By inode, what waits for the change that is ready or being served.
  std::unordered_map<uint64_t, std::deque<PutOffRef>> chains;
  std::list<PooledInProgress> in_progress;
  size_t threads = 0;
  size_t idle = 0;
  bool ending = false;

  void Run();
  void Serve(PutOffRef request, uint8_t* reply);
  bool Spawn();
  bool Add(PutOffRef request);
  size_t Advance(const Order& order);
  void SpawnIfBusy();
  void Wake(size_t requests);
  PutOffRef Withdraw(const GuestSessions& sessions, uint32_t session, uint64_t unique);
};

namespace {

// What READDIRPLUS brings at most.
constexpr size_t kReplyBytes = 1024 * 1024;
// IOV_MAX pieces, and what the data plane's calls take.
constexpr size_t kStackBytes = 512 * 1024;

// Brings the reply's body to the guest, where that has not been done.
void Deliver(const uint8_t* reply, PutOffRequest& request) {
  Answer& answer = request.answer;
  if (answer.kind != Answer::Kind::kBody) return;
  answer.kind = Answer::Kind::kInPlace;
  if (answer.value > 0 && !request.request.writable.CopyIn(sizeof(fuse_out_header), reply,
                                                           static_cast<uint64_t>(answer.value)))
    answer.value = -EFAULT;
}

}  // namespace

void RequestPool::State::Run() {
  // Where it fails, the thread does without: nothing that comes here depends on it.
  AttachThread();
  const std::unique_ptr<uint8_t[]> reply(new uint8_t[kReplyBytes]);
  std::unique_lock lock(mutex);
  for (;;) {
    while (ready.empty() && !ending) {
      idle++;
      wake.wait(lock);
      idle--;
    }
    if (ready.empty()) break;
    PutOffRef request = std::move(ready.front());
    ready.pop_front();
    const auto shown = in_progress.insert(in_progress.end(), PooledInProgress::Of(*request));
    const Order order = request->order;
    lock.unlock();
    Serve(std::move(request), reply.get());
    lock.lock();
    in_progress.erase(shown);
    if (const size_t more = Advance(order); more > 1) {
      // One of them is for this thread.
      idle++;
      Wake(more - 1);
      idle--;
    }
  }
  threads--;
}

void RequestPool::State::Serve(PutOffRef request, uint8_t* reply) {
  const GuestSessions& sessions = *request->sessions;
  EnterSession(sessions, request->session);
  SetPresentRequest(request->number);
  SetRepeated(request->begun);
  DataPlane plane(*request->directory);
  request->answer = plane.ServePutOff(request->request, request->policy, reply, kReplyBytes);
  Deliver(reply, *request);
  // The mailbox's owner, and with it the sessions, may be gone after this.
  LeaveSession(sessions);
  Mailbox* mailbox = request->mailbox;
  mailbox->Put(std::move(request));
  plane.AfterReply();
}

// False where it has to wait for a change first.
bool RequestPool::State::Add(PutOffRef request) {
  const Order order = request->order;
  if (const auto chain = chains.find(order.nodeid); chain != chains.end()) {
    chain->second.push_back(std::move(request));
    return false;
  }
  if (order.changes) {
    chains.try_emplace(order.nodeid);
    changing.store(chains.size(), std::memory_order_release);
  }
  ready.push_back(std::move(request));
  return true;
}

// One of that order has ended, or will not be served: makes ready what has waited for it, up to the
// next change. Returns how many these are.
size_t RequestPool::State::Advance(const Order& order) {
  if (!order.changes) return 0;
  const auto chain = chains.find(order.nodeid);
  std::deque<PutOffRef>& waiting = chain->second;
  size_t count = 0;
  while (!waiting.empty()) {
    const bool changes = waiting.front()->order.changes;
    ready.push_back(std::move(waiting.front()));
    waiting.pop_front();
    count++;
    if (changes) return count;
  }
  chains.erase(chain);
  changing.store(chains.size(), std::memory_order_release);
  return count;
}

// Where more are ready than there are threads for them.
void RequestPool::State::SpawnIfBusy() {
  if (ready.size() > idle && threads < limit) Spawn();
}

// Has as many of those that are ready served by other threads.
void RequestPool::State::Wake(size_t requests) {
  for (; requests > 0; requests--) {
    SpawnIfBusy();
    wake.notify_one();
  }
}

bool RequestPool::State::Spawn() {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  auto self = std::make_unique<std::shared_ptr<State>>(shared_from_this());
  const auto run = [](void* argument) -> void* {
    const std::unique_ptr<std::shared_ptr<State>> state(
        static_cast<std::shared_ptr<State>*>(argument));
    pthread_setname_np(pthread_self(), "viewfsd-pool");
    (*state)->Run();
    return nullptr;
  };
  // Signals are for others; those that an access raises can't be blocked.
  sigset_t all, before;
  sigfillset(&all);
  for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP})
    sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, run, self.get()) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (!started) return false;
  self.release();
  threads++;
  return true;
}

// Takes one out that no thread has begun.
PutOffRef RequestPool::State::Withdraw(const GuestSessions& sessions, uint32_t session,
                                       uint64_t unique) {
  const auto take = [&](std::deque<PutOffRef>& from) -> PutOffRef {
    const auto found = std::ranges::find_if(from, [&](const PutOffRef& request) {
      return request->request.header.unique == unique && request->session == session &&
             request->sessions == &sessions;
    });
    if (found == from.end()) return nullptr;
    PutOffRef request = std::move(*found);
    from.erase(found);
    return request;
  };
  if (PutOffRef request = take(ready); request != nullptr) {
    Wake(Advance(request->order));
    return request;
  }
  for (auto& [nodeid, chain] : chains)
    if (PutOffRef request = take(chain); request != nullptr) return request;
  return nullptr;
}

RequestPool::RequestPool(size_t threads) : state_(std::make_shared<State>(threads)) {}

RequestPool::~RequestPool() {
  const std::lock_guard lock(state_->mutex);
  state_->ending = true;
  state_->wake.notify_all();
}

bool RequestPool::enabled() const { return state_->limit > 0; }

void RequestPool::Submit(PutOffRef request) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (!state.Add(std::move(request))) return;
  state.SpawnIfBusy();
  if (state.threads > 0) {
    lock.unlock();
    state.wake.notify_one();
    return;
  }
  // Not even one thread can be had: served here, as if there were no pool.
  const GuestSessions& sessions = *state.ready.front()->sessions;
  const uint32_t session = state.ready.front()->session;
  const std::unique_ptr<uint8_t[]> reply(new uint8_t[kReplyBytes]);
  while (!state.ready.empty()) {
    PutOffRef own = std::move(state.ready.front());
    state.ready.pop_front();
    const Order order = own->order;
    lock.unlock();
    state.Serve(std::move(own), reply.get());
    lock.lock();
    state.Advance(order);
  }
  EnterSession(sessions, session);
}

bool RequestPool::Busy(const Order& order) {
  if (order.nodeid == 0 || state_->changing.load(std::memory_order_acquire) == 0) return false;
  const std::lock_guard lock(state_->mutex);
  return state_->chains.contains(order.nodeid);
}

bool RequestPool::Interrupt(const GuestSessions& sessions, uint32_t session, uint64_t unique) {
  PutOffRef request;
  {
    const std::lock_guard lock(state_->mutex);
    request = state_->Withdraw(sessions, session, unique);
  }
  if (request == nullptr) return false;
  request->answer = {Answer::Kind::kInPlace, -EINTR};
  Mailbox* mailbox = request->mailbox;
  mailbox->Put(std::move(request));
  return true;
}

std::vector<PooledInProgress> RequestPool::InProgress() {
  const std::lock_guard lock(state_->mutex);
  return {state_->in_progress.begin(), state_->in_progress.end()};
}

}  // namespace viewfsd
