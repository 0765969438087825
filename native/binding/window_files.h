// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BINDING_WINDOW_FILES_H_
#define VIEWFSD_BINDING_WINDOW_FILES_H_

#include <napi.h>

namespace viewfsd {

void InitWindowFiles(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_BINDING_WINDOW_FILES_H_
