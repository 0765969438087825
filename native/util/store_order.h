// SPDX-License-Identifier: Apache-2.0
// The order of stores into memory that outlives its process.
#ifndef VIEWFSD_UTIL_STORE_ORDER_H_
#define VIEWFSD_UTIL_STORE_ORDER_H_

#include <atomic>

namespace viewfsd {

// What a process has stored when it ends is what its instructions before have stored: only the
// compiler could make another order.
inline void KeepOrder() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_STORE_ORDER_H_
