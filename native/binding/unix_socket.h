// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_UNIX_SOCKET_H_
#define VIEWFSD_UNIX_SOCKET_H_

#include <napi.h>

namespace viewfsd {

// Stream sockets that carry descriptors (SCM_RIGHTS).
void InitUnixSocket(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_UNIX_SOCKET_H_
