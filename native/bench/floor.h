// SPDX-License-Identifier: Apache-2.0
// What a program with the same rings and the same system calls, and nothing else, reaches: it
// believes what it is told, knows no limits, forgets nothing and shares nothing between threads.
#ifndef VIEWFSD_BENCH_FLOOR_H_
#define VIEWFSD_BENCH_FLOOR_H_

#include <sys/types.h>

#include <string>

#include "bench/session.h"

namespace viewfsd::bench {

// Forks a process that serves `share` on the session's rings, a thread for each request queue. It
// ends with its parent.
pid_t StartFloor(const Session& session, const std::string& share);

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_FLOOR_H_
