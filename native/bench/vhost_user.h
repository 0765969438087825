// SPDX-License-Identifier: Apache-2.0
// The frontend's side of vhost-user (QEMU's docs/interop/vhost-user.rst), as far as a device that
// is started once needs it.
#ifndef VIEWFSD_BENCH_VHOST_USER_H_
#define VIEWFSD_BENCH_VHOST_USER_H_

#include <memory>
#include <string>
#include <vector>

#include "bench/ring.h"

namespace viewfsd::bench {

// Waits until somebody listens at `path`. A socket, the caller's.
int ConnectTo(const std::string& path);

// Hands the memory and the rings, the hiprio queue first, to the daemon and starts it. Ends the
// program where the daemon refuses, or has fewer queues.
void StartDevice(int socket, const GuestRam& ram, const std::vector<std::unique_ptr<Ring>>& rings);

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_VHOST_USER_H_
