// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_SANDBOX_H_
#define VIEWFSD_SANDBOX_H_

#include <napi.h>

namespace viewfsd {

void InitSandbox(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_SANDBOX_H_
