// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_FD_WATCHER_H_
#define VIEWFSD_FD_WATCHER_H_

#include <napi.h>

namespace viewfsd {

// exports.FdWatcher: calls JavaScript when a descriptor becomes readable.
void InitFdWatcher(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_FD_WATCHER_H_
