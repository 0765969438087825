// SPDX-License-Identifier: Apache-2.0
// The request that the calling thread serves, as the journal of its ring has it: by this number a
// successor of this process knows whether what the tables say of it has been answered.
#ifndef VIEWFSD_PRESENT_REQUEST_H_
#define VIEWFSD_PRESENT_REQUEST_H_

#include <cstdint>

namespace viewfsd {

// None, or one that no journal has.
constexpr uint64_t kNoRequest = 0;

// `turn`: of its JournalEntry.
constexpr uint64_t RequestNumber(uint32_t queue, uint16_t head, uint32_t turn) {
  return uint64_t{queue + 1} << 48 | uint64_t{head} << 32 | turn;
}

void SetPresentRequest(uint64_t number);
uint64_t PresentRequest();

// Whether the journals have it as one that has been taken and not been answered.
bool IsUnderWay(uint64_t number);

}  // namespace viewfsd

#endif  // VIEWFSD_PRESENT_REQUEST_H_
