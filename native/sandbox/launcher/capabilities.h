// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_LAUNCHER_CAPABILITIES_H_
#define VIEWFSD_LAUNCHER_CAPABILITIES_H_

#include <cstdint>

namespace viewfsd {

// Bounds the calling thread, and all that it executes, by `kept` (bit n: capability n), and sets
// no_new_privs. Ends the process where that fails.
void BoundCapabilities(uint64_t kept);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_CAPABILITIES_H_
