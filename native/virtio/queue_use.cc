// SPDX-License-Identifier: Apache-2.0
// How RequestServer takes a queue for its thread, and lets go of it.
#include <deque>
#include <utility>

#include "virtio/request_server.h"

namespace viewfsd {

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
  // What a predecessor has taken has to be answered first, also where a stop waits for it.
  if (!queue->runnable.load(std::memory_order_relaxed) && !queue->left.load()) return false;
  queue->in_use.store(true);
  if ((!queue->runnable.load() && !queue->left.load()) || queue->broken.load()) {
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
  if ((fresh && !StartRing(use, &reason)) || !DisableKicks(use)) {
    Break(use, reason != nullptr ? reason : "the used ring can't be written");
    return false;
  }
  return true;
}

bool RequestServer::EnableKicks(QueueUse* use) {
  const bool written = use->queue->ring.EnableKicks();
  MarkRing(*use);
  return written;
}

bool RequestServer::DisableKicks(QueueUse* use) {
  const bool written = use->queue->ring.DisableKicks();
  MarkRing(*use);
  return written;
}

void RequestServer::MarkRing(const QueueUse& use) {
  DirtyLog& log = device_->dirty_log();
  if (log.enabled())
    log.Mark(*use.table, use.queue->ring.used_ring(), use.queue->ring.used_bytes());
}

void RequestServer::MarkBuffers(const GuestBuffers& buffers, const MemoryTable& table) {
  if (device_->dirty_log().enabled()) device_->dirty_log().Mark(table, buffers);
}

// From where the frontend says, or from where a predecessor of this process has left it.
bool RequestServer::StartRing(QueueUse* use, const char** reason) {
  Queue* queue = use->queue;
  use->left.clear();
  if (!queue->ring.Resume(queue->base, reason)) return false;
  const uint16_t used = queue->ring.next_used();
  if (!queue->left.exchange(false)) {
    queue->journal.Start(used);
    return true;
  }
  for (const QueueJournal::Left& left :
       queue->journal.TakeOver(queue->size, used, device_->crashed()))
    use->left.push_back(left);
  queue->ring.set_next_available(static_cast<uint16_t>(used + use->left.size()));
  queue->base = queue->ring.next_available();
  // Whatever it had pushed it may not have told of.
  use->unsignalled = 1;
  return Repush(use);
}

// Gives back what a predecessor had answered.
bool RequestServer::Repush(QueueUse* use) {
  std::deque<QueueJournal::Left> unanswered;
  for (const QueueJournal::Left& left : use->left) {
    if (!left.answered) {
      unanswered.push_back(left);
      continue;
    }
    use->queue->journal.Push(left.head);
    if (!use->queue->ring.Push(left.head, left.length)) return false;
    use->queue->journal.Done(left.head, use->queue->ring.next_used());
  }
  use->left = std::move(unanswered);
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
  if (use->deferred == 0 && use->left.empty()) Leave(use);
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

}  // namespace viewfsd
