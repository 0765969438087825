// SPDX-License-Identifier: Apache-2.0
// Touching memory that another party can take away.
//
// Guest memory is backed by files that the frontend (RAM) or the host's users (a DAX window) can
// truncate at any time; an access then raises SIGBUS, or SIGSEGV where a mapping forbids it. A
// guarded access turns that into `false` for its caller. Faults elsewhere go to whoever handled the
// signal before.
#ifndef VIEWFSD_GUARDED_ACCESS_H_
#define VIEWFSD_GUARDED_ACCESS_H_

#include <cstddef>
#include <cstdint>

namespace viewfsd {

// Installs the process's handlers once; safe to call from any thread, any number of times.
void InstallFaultHandlers();

// Runs `body(context)`; false where it raised SIGBUS or SIGSEGV. The stack is then unwound without
// running destructors, so `body` may own nothing, take no lock and call nothing that does. Results
// leave through `context`. Does not nest.
bool RunGuarded(void (*body)(void*), void* context);

template <typename Body>
bool Guarded(Body&& body) {
  return RunGuarded([](void* context) { (*static_cast<Body*>(context))(); }, &body);
}

// memcpy where either side may vanish.
bool GuardedCopy(void* destination, const void* source, size_t size);

// Faults that were turned into errors since the process started.
uint64_t GuardedFaultCount();

}  // namespace viewfsd

#endif  // VIEWFSD_GUARDED_ACCESS_H_
