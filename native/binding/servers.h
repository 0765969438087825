// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_SERVERS_H_
#define VIEWFSD_SERVERS_H_

#include <napi.h>

#include <cstdint>

namespace viewfsd {

void InitServers(Napi::Env env, Napi::Object exports);

// What the session that INIT is about to begin has agreed to: SessionRecord::kWords of them, of the
// calling thread.
const int32_t* SessionWords();

}  // namespace viewfsd

#endif  // VIEWFSD_SERVERS_H_
