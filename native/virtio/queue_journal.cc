// SPDX-License-Identifier: Apache-2.0
#include "virtio/queue_journal.h"

#include <time.h>

#include <algorithm>

namespace viewfsd {
namespace {

// A request with which so many servers in a row have ended, within so many seconds, is not served
// again.
constexpr uint32_t kDeadly = 3;
constexpr uint32_t kDeadlySeconds = 60;

uint32_t Seconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(now.tv_sec);
}

// Counts one more.
bool IsDeadly(JournalEntry& entry, uint32_t now) {
  const auto deaths = static_cast<uint8_t>(std::min(entry.deaths.load() + 1, 255));
  const bool lately = deaths > 1 && now - entry.first_death.load() < kDeadlySeconds;
  entry.deaths.store(lately ? deaths : 1);
  if (!lately) entry.first_death.store(now);
  return lately && deaths >= kDeadly;
}

}  // namespace

void QueueJournal::Start(uint16_t used) {
  if (record_ == nullptr) return;
  // Those beyond the ring's size are free.
  for (JournalEntry& entry : record_->entries) {
    if (entry.state.load(std::memory_order_relaxed) == JournalEntry::kFree) continue;
    entry.state.store(JournalEntry::kFree, std::memory_order_relaxed);
    entry.begun.store(0, std::memory_order_relaxed);
    entry.deaths.store(0, std::memory_order_relaxed);
  }
  KeepOrder();
  record_->used.store(used, std::memory_order_relaxed);
  KeepOrder();
  record_->runs.store(1, std::memory_order_relaxed);
}

std::vector<QueueJournal::Left> QueueJournal::TakeOver(uint32_t size, uint16_t used, bool crashed) {
  std::vector<Left> left;
  if (!runs()) {
    Start(used);
    return left;
  }
  if (static_cast<uint16_t>(record_->used.load()) != used) {
    // It is in the used ring, and was not yet said to be.
    const uint32_t last = record_->last_head.load();
    if (last < size) Done(static_cast<uint16_t>(last), used);
    record_->used.store(used);
  }
  std::vector<std::pair<uint32_t, Left>> turns;
  const uint32_t now = Seconds();
  // Of the latest turn: they wrap around.
  const uint32_t next = record_->next_turn.load();
  for (uint32_t head = 0; head < size; head++) {
    JournalEntry& entry = record_->entries[head];
    const uint8_t state = entry.state.load();
    if (state != JournalEntry::kTaken && state != JournalEntry::kAnswered) continue;
    const bool deadly = crashed && state == JournalEntry::kTaken && IsDeadly(entry, now);
    turns.push_back({next - entry.turn.load(),
                     {static_cast<uint16_t>(head), state == JournalEntry::kAnswered,
                      entry.length.load(), deadly}});
  }
  std::sort(turns.begin(), turns.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [age, one] : turns) left.push_back(one);
  return left;
}

}  // namespace viewfsd
