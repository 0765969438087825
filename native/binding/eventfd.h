// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_EVENTFD_H_
#define VIEWFSD_EVENTFD_H_

#include <napi.h>

namespace viewfsd {

void InitEventFd(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_EVENTFD_H_
