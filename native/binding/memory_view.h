// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_MEMORY_VIEW_H_
#define VIEWFSD_MEMORY_VIEW_H_

#include <napi.h>

namespace viewfsd {

// exports.MemoryView: one /dev/memory-view control fd.
void InitMemoryView(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_MEMORY_VIEW_H_
