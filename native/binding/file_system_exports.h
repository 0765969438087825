// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_FILE_SYSTEM_EXPORTS_H_
#define VIEWFSD_FILE_SYSTEM_EXPORTS_H_

#include <napi.h>

namespace viewfsd {

void InitFileSystem(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_FILE_SYSTEM_EXPORTS_H_
