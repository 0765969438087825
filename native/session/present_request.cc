// SPDX-License-Identifier: Apache-2.0
#include "session/present_request.h"

#include "session/server_state.h"

namespace viewfsd {
namespace {

thread_local uint64_t present = kNoRequest;

}  // namespace

void SetPresentRequest(uint64_t number) { present = number; }

uint64_t PresentRequest() { return present; }

bool IsUnderWay(uint64_t number) {
  if (number == kNoRequest) return false;
  const JournalRecord* const journal =
      ServerState::Journal(static_cast<uint32_t>(number >> 48) - 1);
  const auto head = static_cast<uint16_t>(number >> 32);
  if (journal == nullptr || head >= JournalRecord::kEntries) return false;
  const JournalEntry& entry = journal->entries[head];
  return entry.state.load() == JournalEntry::kTaken &&
         entry.turn.load() == static_cast<uint32_t>(number);
}

}  // namespace viewfsd
