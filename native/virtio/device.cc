// SPDX-License-Identifier: Apache-2.0
#include "virtio/device.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>

#include "util/page_size.h"
#include "util/signal_eventfd.h"

namespace viewfsd {
namespace {

std::mutex registry_mutex;
std::map<uint32_t, std::shared_ptr<Device>>& Registry() {
  // Leaked on purpose: queue threads may outlive static destruction.
  static auto* registry = new std::map<uint32_t, std::shared_ptr<Device>>();
  return *registry;
}
uint32_t next_id = 1;

// How long a frontend may take between its reply to SHMEM_MAP and the memory table that lists the
// mapping.
constexpr std::chrono::milliseconds kTablePatience{10'000};

// Where the window starts in guest-physical space according to a region of the table that shows
// this range; none where no region does. `base`: only a region at the right place counts (the same
// file may be mapped elsewhere, too). `before`: regions that were in that table don't count.
std::optional<uint64_t> FindWindow(const MemoryTable& table, const ShmemRange& range,
                                   const std::optional<uint64_t>& base, const MemoryTable* before) {
  for (const auto& region : table.regions()) {
    const RegionDescription& have = region->description();
    if (region->device() != range.device || region->inode() != range.inode ||
        have.mmap_offset > range.foffset ||
        have.mmap_offset + have.size < range.foffset + range.length)
      continue;
    const uint64_t found = have.guest_address + (range.foffset - have.mmap_offset) - range.moffset;
    if (base.has_value() && *base != found) continue;
    if (before != nullptr) {
      const auto& old = before->regions();
      if (std::find(old.begin(), old.end(), region) != old.end()) continue;
    }
    return found;
  }
  return std::nullopt;
}

}  // namespace

Device::Device(size_t pool_threads)
    : memory_([this](dev_t device, ino_t inode) { return IsWindowFile(device, inode); }),
      pool_(pool_threads) {}

std::shared_ptr<Device> Device::Create(uint32_t queue_count, size_t pool_threads) {
  std::shared_ptr<Device> device(new Device(pool_threads));
  device->quiesced_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  for (uint32_t i = 0; i < queue_count; i++) {
    device->queues_.push_back(std::make_unique<Queue>());
    device->queues_.back()->journal = QueueJournal(ServerState::Journal(i), i);
    if (i != 1) {
      auto port = std::make_unique<WorkerPort>();
      port->epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
      port->control = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      epoll_event event = {EPOLLIN | EPOLLET, {}};
      epoll_ctl(port->epoll.get(), EPOLL_CTL_ADD, port->control.get(), &event);
      if (device->pool_.enabled()) port->reads = ReadRing::Create(port->control.get());
      device->workers_.push_back(std::move(port));
    }
    device->WorkerOf(i).queues.push_back(i);
  }
  const std::lock_guard lock(registry_mutex);
  device->id_ = next_id++;
  Registry()[device->id_] = device;
  return device;
}

std::shared_ptr<Device> Device::Find(uint32_t id) {
  const std::lock_guard lock(registry_mutex);
  const auto found = Registry().find(id);
  return found == Registry().end() ? nullptr : found->second;
}

void Device::Drop(uint32_t id) {
  const std::lock_guard lock(registry_mutex);
  Registry().erase(id);
}

void Device::Poke(uint32_t queue) { SignalEventFd(WorkerOf(queue).control.get()); }

void Device::UpdateRunnable(Queue* queue) {
  queue->runnable.store(queue->started && queue->enabled && queue->addresses_set &&
                        queue->size != 0 && !queue->broken.load() && !queue->stop_requested.load());
}

void Device::SetFeatures(bool event_idx, bool indirect, bool rings_start_enabled) {
  event_idx_ = event_idx;
  indirect_ = indirect;
  rings_start_enabled_ = rings_start_enabled;
}

int Device::SetKick(uint32_t index, UniqueFd kick) {
  Queue& queue = *queues_[index];
  bool first = true;
  for (const auto& other : queues_) first = first && !other->started;
  if (first) restarted_.store(true);
  {
    const std::lock_guard lock(queue.mutex);
    // Closing the old one would remove it from the epoll set only if nobody else had it open: take
    // it out.
    if (queue.kick.valid())
      epoll_ctl(WorkerOf(index).epoll.get(), EPOLL_CTL_DEL, queue.kick.get(), nullptr);
    Retire(std::move(queue.kick));
    queue.kick = std::move(kick);
    epoll_event event = {EPOLLIN | EPOLLET, {}};
    if (epoll_ctl(WorkerOf(index).epoll.get(), EPOLL_CTL_ADD, queue.kick.get(), &event) != 0) {
      const int error = errno;
      queue.kick.reset();
      return error;
    }
  }
  if (!queue.started) {
    queue.left.store(queue.journal.runs());
    queue.broken.store(false);
    queue.started = true;
    queue.enabled = queue.enabled || rings_start_enabled_;
    queue.start_count.fetch_add(1);
  }
  UpdateRunnable(&queue);
  Poke(index);
  return 0;
}

void Device::SetEnabled(uint32_t index, bool enabled) {
  queues_[index]->enabled = enabled;
  UpdateRunnable(queues_[index].get());
  Poke(index);
}

bool Device::RequestStop(uint32_t index) {
  Queue& queue = *queues_[index];
  if (!queue.stop_requested.exchange(true)) pending_stops_.fetch_add(1);
  UpdateRunnable(&queue);
  // Whatever waits for the frontend gives up, also for another queue's stop: the frontend is busy
  // with us.
  memory_.WakeWaiters();
  backend_.Wake();
  if (!queue.in_use.load() && !queue.left.load()) return true;
  Poke(index);
  return false;
}

uint16_t Device::FinishStop(uint32_t index) {
  Queue& queue = *queues_[index];
  if (queue.stop_requested.exchange(false) && pending_stops_.fetch_sub(1) == 1) {
    // What was interrupted can go on.
    for (const auto& worker : workers_) SignalEventFd(worker->control.get());
  }
  const std::lock_guard lock(queue.mutex);
  if (queue.kick.valid())
    epoll_ctl(WorkerOf(index).epoll.get(), EPOLL_CTL_DEL, queue.kick.get(), nullptr);
  Retire(std::move(queue.kick));
  queue.kick.reset();
  queue.started = false;
  queue.journal.Stop();
  UpdateRunnable(&queue);
  return queue.base;
}

void Device::Leave(Queue* queue) {
  queue->in_use.store(false);
  if (queue->stop_requested.load()) SignalEventFd(quiesced_.get());
}

void Device::Break(Queue* queue, const char* reason) {
  queue->broken.store(true);
  queue->runnable.store(false);
  queue->left.store(false);
  const std::lock_guard lock(queue->mutex);
  queue->broken_reason = reason;
  if (queue->err.valid()) SignalEventFd(queue->err.get());
  // Main reports it.
  SignalEventFd(quiesced_.get());
}

void Device::Reset() {
  for (uint32_t i = 0; i < queues_.size(); i++) {
    Queue& queue = *queues_[i];
    const std::lock_guard lock(queue.mutex);
    if (queue.kick.valid())
      epoll_ctl(WorkerOf(i).epoll.get(), EPOLL_CTL_DEL, queue.kick.get(), nullptr);
    for (UniqueFd* fd : {&queue.kick, &queue.call, &queue.err}) {
      Retire(std::move(*fd));
      fd->reset();
    }
    queue.journal.Stop();
    queue.size = 0;
    queue.addresses_set = false;
    queue.base = 0;
    queue.started = queue.enabled = false;
    queue.broken.store(false);
    queue.runnable.store(false);
  }
  backend_.SetSocket(UniqueFd());
  memory_.Clear();
  SetLogSignal(UniqueFd());
  Retire(std::move(log_file_.fd));
  log_file_ = {};
  dirty_log_.Reset();
  SetRegionFds({});
  const std::lock_guard lock(ranges_mutex_);
  shmem_ranges_.Clear();
  window_base_.reset();
  view_shown_ = false;
  window_epoch_++;
  view_body_mapped_ = view_tail_mapped_ = false;
  table_lists_mappings_ = 0;
}

void Device::Shutdown() {
  shutdown_.store(true, std::memory_order_release);
  memory_.WakeWaiters();
  backend_.Wake();
  for (const auto& worker : workers_) SignalEventFd(worker->control.get());
}

bool Device::IsWindowFile(dev_t device, ino_t inode) {
  const std::lock_guard lock(ranges_mutex_);
  // All memory views of the host are files of one internal file system, also those of other
  // devices' windows.
  for (const auto& view : views_)
    if (view.first == device) return true;
  return shmem_ranges_.Shows(device, inode);
}

void Device::AddView(int view_fd) {
  struct stat file;
  if (fstat(view_fd, &file) != 0) return;
  const std::lock_guard lock(ranges_mutex_);
  views_.emplace(file.st_dev, file.st_ino);
}

bool Device::RingInWindow(const SplitVirtqueue::Addresses& addresses) {
  const Snapshot table = memory_.Get();
  for (const uint64_t address : {addresses.descriptors, addresses.available, addresses.used}) {
    const Region* region = table->FindUser(address, 1);
    if (region != nullptr && IsWindow(*region)) return true;
  }
  return false;
}

bool Device::ViewLost(int view_fd, uint64_t size) {
  struct stat file;
  if (fstat(view_fd, &file) != 0) return false;
  const std::lock_guard lock(ranges_mutex_);
  return view_shown_ && !memory_.Get()->HoldsFile(file.st_dev, file.st_ino, size);
}

void Device::ForgetWindow() {
  const std::lock_guard lock(ranges_mutex_);
  view_shown_ = false;
  window_epoch_++;
  view_body_mapped_ = view_tail_mapped_ = false;
  shmem_ranges_.Clear();
  window_base_.reset();
}

int Device::StartViewWindow(int view_fd, uint64_t size, std::chrono::milliseconds patience) {
  struct stat file;
  if (fstat(view_fd, &file) != 0) return -errno;
  const std::lock_guard lock(window_mutex_);
  const auto interrupted = [this] { return Interrupted(); };
  // A map whose reply we did not wait for may have been done after all.
  const int drained = backend_.DrainLateReplies(interrupted);
  if (drained < 0) return drained;
  // Unmounting and mounting again, or stop and cont, keep the mapping.
  if (!memory_.Get()->HoldsFile(file.st_dev, file.st_ino, size)) {
    // The last page goes separately: QEMU places a mapping of less than the whole window at a 2 MiB
    // boundary, which huge pages need; the whole window it would place at the boundary of a page.
    const uint64_t tail = PageSize();
    const uint64_t body = size > tail ? size - tail : size;
    // A part may be there from an attempt that was interrupted, or whose second part failed; the
    // frontend refuses it twice.
    const auto map = [&](uint64_t offset, uint64_t length, std::atomic<bool>* mapped) {
      if (mapped->load()) return 0;
      const auto late = [this, mapped, epoch = window_epoch_.load()](bool done) {
        if (epoch == window_epoch_.load()) mapped->store(done);
      };
      const int sent = backend_.ShmemMap(view_fd, offset, offset, length, true, interrupted, late);
      if (sent == 0) mapped->store(true);
      return sent;
    };
    int result = 0;
    if (!memory_.Get()->HoldsFile(file.st_dev, file.st_ino, body))
      result = map(0, body, &view_body_mapped_);
    if (result == 0 && body < size) result = map(body, size - body, &view_tail_mapped_);
    if (result < 0) return result;
  }
  const int waited = memory_.WaitForFile(file.st_dev, file.st_ino, size,
                                         std::chrono::steady_clock::now() + patience, interrupted);
  if (waited != EINTR) view_body_mapped_ = view_tail_mapped_ = false;
  const std::lock_guard ranges_lock(ranges_mutex_);
  view_shown_ = waited == 0;
  return -waited;
}

// After a restart of the device the frontend has kept all mappings (stop and cont) or none (reset);
// its memory table at the start tells. Called with window_mutex_ held.
int Device::ShmemSync() {
  if (restarted_.exchange(false)) DropUnlisted();
  // Those that come now were done after the restart, or are in its table.
  return backend_.DrainLateReplies([this] { return Interrupted(); });
}

void Device::DropUnlisted() {
  const Snapshot table = memory_.Get();
  const std::lock_guard lock(ranges_mutex_);
  if (table_lists_mappings_ < 0) return;
  std::vector<uint64_t> gone;
  for (const auto& [moffset, range] : shmem_ranges_.ranges())
    if (!FindWindow(*table, range, window_base_, nullptr)) gone.push_back(moffset);
  for (const uint64_t moffset : gone) shmem_ranges_.Erase(moffset);
  // The guest may place the window anew after a reset.
  if (shmem_ranges_.ranges().empty()) window_base_.reset();
}

int Device::ShmemMap(const ShmemRange& range, int fd) {
  const std::lock_guard lock(window_mutex_);
  // ShmemReset takes the lock after the next session has begun.
  if (!InPresentSession()) return -ENOTCONN;
  const int synced = ShmemSync();
  if (synced < 0) return synced;
  ShmemRanges::Verdict verdict;
  {
    const std::lock_guard ranges_lock(ranges_mutex_);
    verdict = shmem_ranges_.Judge(range);
  }
  if (verdict == ShmemRanges::Verdict::kConflict) return -EBUSY;
  // One that is present may still be waiting for its table: a stop can interrupt that.
  if (verdict == ShmemRanges::Verdict::kPresent) return ShmemAwait(range, nullptr);
  const Snapshot before = memory_.Get();
  const auto insert = [this, range, epoch = window_epoch_.load()](bool done) {
    const std::lock_guard ranges_lock(ranges_mutex_);
    if (done && epoch == window_epoch_.load()) shmem_ranges_.Insert(range);
  };
  const int result = backend_.ShmemMap(
      fd, range.foffset, range.moffset, range.length, range.writable,
      [this] { return Interrupted(); }, insert);
  if (result < 0) return result;
  insert(true);
  return ShmemAwait(range, before.get());
}

// QEMU replies before it commits a mapping, and a guest that looks too early reads zeros. The
// memory table comes after the commit. A frontend that maps over one region of its own never sends
// one: its reply is all there is.
int Device::ShmemAwait(const ShmemRange& range, const MemoryTable* before) {
  std::optional<uint64_t> base;
  {
    const std::lock_guard ranges_lock(ranges_mutex_);
    if (table_lists_mappings_ < 0) return 0;
    base = window_base_;
  }
  std::optional<uint64_t> found;
  const int waited = memory_.WaitFor(
      [&](const MemoryTable& table) {
        found = FindWindow(table, range, base, base.has_value() ? nullptr : before);
        return found.has_value();
      },
      std::chrono::steady_clock::now() + kTablePatience, [this] { return Interrupted(); });
  if (waited == EINTR) return -EINTR;
  const std::lock_guard ranges_lock(ranges_mutex_);
  // Empty after a timeout: the guest may have moved the window meanwhile.
  window_base_ = found;
  if (waited == 0) {
    table_lists_mappings_ = 1;
    return 0;
  }
  if (table_lists_mappings_ > 0) return -ETIMEDOUT;
  table_lists_mappings_ = -1;
  return 0;
}

int Device::ShmemUnmap(uint64_t moffset, uint64_t length) {
  const std::lock_guard lock(window_mutex_);
  if (!InPresentSession()) return -ENOTCONN;
  const int synced = ShmemSync();
  if (synced < 0) return synced;
  std::vector<ShmemRange> covered;
  {
    const std::lock_guard ranges_lock(ranges_mutex_);
    if (!shmem_ranges_.Covered(moffset, length, &covered)) return -EINVAL;
  }
  for (const ShmemRange& range : covered) {
    const auto erase = [this, start = range.moffset](bool done) {
      const std::lock_guard ranges_lock(ranges_mutex_);
      if (done) shmem_ranges_.Erase(start);
    };
    const int result = backend_.ShmemUnmap(
        range.moffset, range.length, [this] { return Interrupted(); }, erase);
    if (result < 0) return result;
    erase(true);
  }
  return 0;
}

void Device::ShmemReset() { ShmemUnmap(0, uint64_t{1} << 62); }

uint64_t Device::ShmemLive() {
  const std::lock_guard lock(ranges_mutex_);
  return shmem_ranges_.ranges().size();
}

}  // namespace viewfsd
