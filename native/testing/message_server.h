// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_TESTING_MESSAGE_SERVER_H_
#define VIEWFSD_TESTING_MESSAGE_SERVER_H_

#include <napi.h>

namespace viewfsd {

// exports.MessageServer: DataPlane on requests in plain memory, without a ring.
void InitMessageServer(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_MESSAGE_SERVER_H_
